//! The host's allocator: mimalloc, with a count of what it has handed out.
//!
//! Requests are answered by whichever thread is free, so blocks are often freed by another thread than the one that they
//! were made by. With glibc's allocator the threads then wait for each other's locks: with three leaks on, nearly every
//! request waited in the kernel. Its totals cannot be had without a walk over all free blocks either, tens of
//! milliseconds in a large heap. Here a thread adds up on its own and tells the others now and then.
//!
//! Without huge pages (mimalloc's `no_thp`): with them the lab was twice as large, and what is resident is its subject.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

use mimalloc::MiMalloc;

/// Bytes that a thread makes or frees before it tells. The total may be wrong by as much for each thread.
const UNTOLD_MOST: i64 = 32 << 10;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes handed out and not freed, as far as threads have told.
static IN_USE: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// What this thread has made, less what it has freed, since it last told.
    static UNTOLD: Cell<i64> = const { Cell::new(0) };
}

/// Bytes handed out and not yet freed: what was asked for, without the allocator's own rounding and bookkeeping. Blocks
/// of the few C libraries are not among them.
pub(crate) fn in_use_bytes() -> u64 {
    u64::try_from(IN_USE.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Tells what this thread has made and freed: for its end, after which nobody could.
pub(crate) fn tell() {
    let untold = UNTOLD.replace(0);
    IN_USE.fetch_add(untold, Ordering::Relaxed);
}

/// Returns free pages to the system: all that nobody owns, and this thread's own. Other threads return theirs by
/// themselves, a moment after they became free.
pub(crate) fn release_free_pages() {
    mimalloc_collect();
}

#[allow(
    unsafe_code,
    reason = "mimalloc offers this only as a C function, without preconditions"
)]
fn mimalloc_collect() {
    // SAFETY: the function may be called at any time by any thread; it touches free memory only.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Passes everything on, and counts.
struct Counting;

#[allow(
    unsafe_code,
    reason = "an allocator's methods are unsafe; these hand their arguments on as they are"
)]
// SAFETY: every block comes from and goes back to mimalloc, with the layout that the caller gave. Counting touches a
// cell of the thread and an atomic, neither of which allocates or unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let block = unsafe { MiMalloc.alloc(layout) };
        if !block.is_null() {
            count(signed(layout.size()));
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let block = unsafe { MiMalloc.alloc_zeroed(layout) };
        if !block.is_null() {
            count(signed(layout.size()));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let moved = unsafe { MiMalloc.realloc(block, layout, size) };
        if !moved.is_null() {
            count(signed(size) - signed(layout.size()));
        }
        moved
    }
}

/// A block is never larger than half of all addresses.
fn signed(size: usize) -> i64 {
    size as i64
}

fn count(bytes: i64) {
    let sum = UNTOLD.get() + bytes;
    if sum.abs() < UNTOLD_MOST {
        UNTOLD.set(sum);
    } else {
        UNTOLD.set(0);
        IN_USE.fetch_add(sum, Ordering::Relaxed);
    }
}

#[cfg(all(test, target_os = "linux"))]
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
                let start_in_use = in_use_bytes();
                let mut blocks: Vec<Vec<u8>> = (0..(256 << 10)).map(|_| vec![1_u8; 1024]).collect();
                let full = reader.resident_bytes().unwrap();
                assert!(in_use_bytes() > start_in_use + 256 * MIB);
                // One of the last stays.
                let last = blocks.pop();
                drop(blocks);
                release_free_pages();
                let released = reader.resident_bytes().unwrap();
                assert!(full - released > 240 * MIB, "{full} -> {released}");
                assert!(in_use_bytes() < start_in_use + MIB);
                drop(last);
            },
        );
    }

    #[test]
    fn the_count_is_right_whichever_thread_frees_and_after_its_end() {
        alone::check(
            "memory::allocator::tests::the_count_is_right_whichever_thread_frees_and_after_its_end",
            || {
                tell();
                let start = in_use_bytes();
                for _ in 0..200 {
                    // Less than a thread would tell by itself.
                    let made = std::thread::spawn(|| {
                        let block = vec![1_u8; 20_000];
                        tell();
                        block
                    });
                    drop(made.join().unwrap());
                }
                tell();
                let off = in_use_bytes().abs_diff(start);
                assert!(off < 100_000, "{off}");

                let mut grown = vec![1_u8; 1 << 20];
                grown.resize(8 << 20, 1);
                grown.truncate(2 << 20);
                grown.shrink_to_fit();
                tell();
                let held = in_use_bytes() - start;
                assert!(held.abs_diff(2 * MIB) < 100_000, "{held}");
            },
        );
    }
}
