//! The host's own allocator: bytes in use, number of arenas, return of free pages.
//!
//! glibc keeps freed pages for later use, so a process that has freed 100 MB may stay 100 MB large.
//! The lab's `gc` must show memory that really went back to the system, so it trims explicitly.
//! Other allocators return pages by themselves or report no totals. There, these functions do
//! nothing.

use std::num::NonZero;
use std::thread::available_parallelism;

/// Bytes of a block that gets its own mapping, and of free pages that an arena keeps at its end.
/// The host's requests take less.
const LARGE_BLOCK_BYTES: i32 = 512 << 10;

/// Limits the allocator to one arena per core. Must run before the process starts threads.
///
/// By default glibc creates up to eight arenas per core. Each arena keeps the pages of its peak.
/// Short-lived threads leave tens of megabytes of unused pages, and more whenever a thread uses an
/// arena for the first time.
pub fn limit_arenas() {
    glibc::limit_arenas(available_parallelism().map_or(1, NonZero::get));
}

/// Makes the allocator return blocks of 512 KiB and more to the system as soon as they are freed.
///
/// By default glibc raises its threshold for blocks with their own mappings, up to 32 MiB, whenever
/// such a block is freed, and keeps twice that free at the end of each arena. A trim does not touch
/// the end of arenas other than the first. So a text of 12 MiB that was read twice kept its 12 MiB.
pub fn return_large_blocks() {
    glibc::set_thresholds(LARGE_BLOCK_BYTES);
}

/// Returns the allocator's free pages to the system. The result says whether any were returned.
///
/// Takes every arena's lock in turn and walks its free lists. That takes milliseconds for a large
/// heap, so no request waits for it.
pub fn release_free_pages() -> bool {
    glibc::trim()
}

/// Allocated bytes that are not freed yet, with the allocator's own overhead. `None` where the
/// allocator reports no total.
///
/// Walks the free lists and blocks every other allocation meanwhile: tens of milliseconds in a heap
/// of hundreds of megabytes. Read it through a
/// [`CachedReading`](crate::cached_reading::CachedReading).
pub fn in_use_bytes() -> Option<u64> {
    glibc::in_use_bytes()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(
    unsafe_code,
    reason = "glibc offers the trim, the totals and the number of arenas only as C functions"
)]
mod glibc {
    pub(super) fn limit_arenas(max: usize) {
        let max = libc::c_int::try_from(max).unwrap_or(libc::c_int::MAX);
        // SAFETY: mallopt takes any value. It runs before there are other threads, as mallopt(3)
        // requires. A refusal changes nothing.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, max) };
    }

    pub(super) fn set_thresholds(bytes: i32) {
        for threshold in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
            // SAFETY: mallopt takes any value, and a refusal changes nothing. To set a threshold
            // turns its adjustment off.
            unsafe { libc::mallopt(threshold, bytes) };
        }
    }

    pub(super) fn trim() -> bool {
        // SAFETY: malloc_trim has no preconditions, is MT-Safe (malloc_trim(3)) and touches free
        // memory only. The argument is the slack to keep at the top of the heap: none.
        unsafe { libc::malloc_trim(0) == 1 }
    }

    pub(super) fn in_use_bytes() -> Option<u64> {
        // SAFETY: mallinfo2 has no preconditions, takes each arena's lock and returns its totals by
        // value (mallinfo(3), glibc 2.33 and later).
        let totals = unsafe { libc::mallinfo2() };
        // Blocks in the arenas, and large blocks that have their own mappings.
        Some(totals.uordblks as u64 + totals.hblkhd as u64)
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    pub(super) fn limit_arenas(_max: usize) {}

    pub(super) fn set_thresholds(_bytes: i32) {}

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
    fn threads_share_arenas() {
        subprocess_test::check("allocator::tests::threads_share_arenas", || {
            limit_arenas();
            let cores = available_parallelism().unwrap().get();
            let threads = cores * 4;
            let reader = ProcessReader::new().unwrap();
            let before = reader.read().unwrap().virtual_bytes;
            let barrier = std::sync::Barrier::new(threads + 1);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let block = vec![1_u8; 1000];
                        barrier.wait();
                        barrier.wait();
                        drop(block);
                    });
                }
                barrier.wait();
                let reserved = reader.read().unwrap().virtual_bytes - before;
                barrier.wait();
                // An arena reserves 64 MiB of address space, a stack 2 MiB.
                let shared = (cores * 64 + threads * 4) as u64 * MIB;
                assert!(reserved < shared, "{} MiB", reserved / MIB);
            });
        });
    }

    #[test]
    fn large_blocks_leave_nothing_in_any_arena() {
        subprocess_test::check(
            "allocator::tests::large_blocks_leave_nothing_in_any_arena",
            || {
                limit_arenas();
                return_large_blocks();
                let reader = ProcessReader::new().unwrap();
                let read_texts = || {
                    for size in [12, 3, 12, 1, 24, 12_u64] {
                        let text = vec![b'A'; (size * MIB) as usize];
                        // A small block behind it in its arena.
                        let kept = std::hint::black_box(vec![1_u8; 100]);
                        drop(std::hint::black_box(text));
                        drop(kept);
                    }
                };
                let before = reader.resident_bytes().unwrap();
                for _ in 0..4 {
                    std::thread::scope(|scope| {
                        scope.spawn(read_texts);
                        scope.spawn(read_texts);
                    });
                }
                let after = reader.resident_bytes().unwrap();
                assert!(after < before + MIB, "{before} -> {after}");
            },
        );
    }

    #[test]
    fn a_trim_returns_freed_small_blocks_to_the_system() {
        subprocess_test::check(
            "allocator::tests::a_trim_returns_freed_small_blocks_to_the_system",
            || {
                let reader = ProcessReader::new().unwrap();
                let start_in_use = in_use_bytes().unwrap();
                // 256 MiB in blocks that are too small for their own mappings.
                let mut blocks: Vec<Vec<u8>> = (0..(256 << 10)).map(|_| vec![1_u8; 1024]).collect();
                let full = reader.resident_bytes().unwrap();
                assert!(in_use_bytes().unwrap() > start_in_use + 200 * MIB);
                // A live block at the top keeps glibc from shrinking the heap by itself.
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
