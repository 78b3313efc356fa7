//! The host's own allocator: what it has handed out, and how to make it keep less and give free pages back.
//!
//! glibc keeps freed pages for later, so a process that has freed 100 MB may stay 100 MB large. The
//! lab's `gc` has to show memory that really went back, hence the explicit trim. Other allocators
//! return pages by themselves or cannot be asked; there, the functions do nothing.

use std::num::NonZero;
use std::thread::available_parallelism;

/// Has threads share heaps, one for each core: for before there are threads. By default glibc makes up to eight for each
/// core, and every heap keeps the pages of the largest answer that was ever made in it: with threads that come and go,
/// tens of megabytes that belong to nothing, and that grow whenever a thread comes by a heap for the first time.
pub fn share_heaps() {
    glibc::limit_heaps(available_parallelism().map_or(1, NonZero::get));
}

/// Returns the allocator's free pages to the system; answers whether any were returned.
///
/// Takes every arena's lock in turn and walks its free lists: milliseconds for a large heap, so not
/// for the way of a request.
pub fn release_free_pages() -> bool {
    glibc::trim()
}

/// Bytes handed out by the allocator and not yet freed, its own bookkeeping included; `None` where the
/// allocator does not tell. Walks the free lists, and nobody else allocates meanwhile: tens of milliseconds in a heap of
/// hundreds of megabytes, so it is asked [seldom](super::seldom).
pub fn in_use_bytes() -> Option<u64> {
    glibc::in_use_bytes()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(
    unsafe_code,
    reason = "glibc offers the trim and the totals only as C functions; this module is all there is of it"
)]
mod glibc {
    pub(super) fn limit_heaps(most: usize) {
        let most = libc::c_int::try_from(most).unwrap_or(libc::c_int::MAX);
        // SAFETY: mallopt takes any value, and is called before there are threads (mallopt(3)). A refusal changes nothing.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, most) };
    }

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
    pub(super) fn limit_heaps(_most: usize) {}

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
    use crate::{process::ProcessReader, subprocess_test};

    const MIB: u64 = 1 << 20;

    #[test]
    fn threads_share_heaps() {
        subprocess_test::check("allocator::tests::threads_share_heaps", || {
            share_heaps();
            let cores = available_parallelism().unwrap().get();
            let threads = cores * 4;
            let reader = ProcessReader::new().unwrap();
            let before = reader.read().unwrap().virtual_bytes;
            let all_are_there = std::sync::Barrier::new(threads + 1);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let block = vec![1_u8; 1000];
                        all_are_there.wait();
                        all_are_there.wait();
                        drop(block);
                    });
                }
                all_are_there.wait();
                let more = reader.read().unwrap().virtual_bytes - before;
                all_are_there.wait();
                // A heap of its own is 64 MiB of addresses, a stack two.
                let shared = (cores * 64 + threads * 4) as u64 * MIB;
                assert!(more < shared, "{} MiB", more / MIB);
            });
        });
    }

    #[test]
    fn freed_small_blocks_go_back_to_the_system() {
        subprocess_test::check(
            "allocator::tests::freed_small_blocks_go_back_to_the_system",
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
