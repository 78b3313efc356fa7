//! The host's own allocator: what it has handed out, and how to make it give free pages back.
//!
//! glibc keeps freed pages for later, so a process that has freed 100 MB may stay 100 MB large. The
//! lab's `gc` has to show memory that really went back, hence the explicit trim. Other allocators
//! return pages by themselves or cannot be asked; there, both functions do nothing.

/// Returns the allocator's free pages to the system; answers whether any were returned.
///
/// Takes every arena's lock in turn and walks its free lists: milliseconds for a large heap, so not
/// for the way of a request.
pub(crate) fn release_free_pages() -> bool {
    glibc::trim()
}

/// Bytes handed out by the allocator and not yet freed, its own bookkeeping included; `None` where the
/// allocator does not tell. Walks the free lists: once a second is fine.
pub(crate) fn in_use_bytes() -> Option<u64> {
    glibc::in_use_bytes()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(
    unsafe_code,
    reason = "glibc offers the trim and the totals only as C functions; this module is all there is of it"
)]
mod glibc {
    pub(super) fn trim() -> bool {
        // SAFETY: malloc_trim has no preconditions and is MT-Safe (malloc_trim(3)); it touches free
        // memory only. The argument is the slack to keep at the top of the heap: none.
        unsafe { libc::malloc_trim(0) == 1 }
    }

    pub(super) fn in_use_bytes() -> Option<u64> {
        // SAFETY: mallinfo2 has no preconditions, takes each arena's lock and returns its totals by
        // value (mallinfo(3), glibc 2.33 and later).
        let totals = unsafe { libc::mallinfo2() };
        // Blocks in the arenas, and large blocks that are mappings of their own.
        Some(totals.uordblks as u64 + totals.hblkhd as u64)
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    pub(super) fn trim() -> bool {
        false
    }

    pub(super) fn in_use_bytes() -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;
    use crate::memory::{alone, process::ProcessReader};

    const MIB: u64 = 1 << 20;

    #[test]
    fn freed_small_blocks_go_back_to_the_system() {
        alone::check(
            "memory::allocator::tests::freed_small_blocks_go_back_to_the_system",
            || {
                let reader = ProcessReader::new().unwrap();
                let start_in_use = in_use_bytes().unwrap();
                // 256 MiB in blocks too small for mappings of their own.
                let mut blocks: Vec<Vec<u8>> = (0..(256 << 10)).map(|_| vec![1_u8; 1024]).collect();
                let full = reader.resident_bytes().unwrap();
                assert!(in_use_bytes().unwrap() > start_in_use + 200 * MIB);
                // A block at the top keeps glibc from shrinking the heap by itself.
                let top = blocks.pop();
                drop(blocks);
                release_free_pages();
                let trimmed = reader.resident_bytes().unwrap();
                assert!(full - trimmed > 200 * MIB, "{full} -> {trimmed}");
                assert!(in_use_bytes().unwrap() < start_in_use + 56 * MIB);
                drop(top);
            },
        );
    }
}
