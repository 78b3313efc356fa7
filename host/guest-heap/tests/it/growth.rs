//! The growth of memory by call stack, and blocks that were freed where no hook saw it.

use guest_heap::Context;

use crate::coverage::{known_gap, lift, with_allocator};
use crate::guest::Guest;
use crate::wat_guest::check_same;

const PAGE: u64 = 65_536;

/// The growths of a guest by the number of frames, or by name: all bytes, and those without an
/// entry point.
fn growths(guest: &Guest) -> Vec<(String, u64, u64)> {
    let mut growths: Vec<_> = guest
        .reading()
        .contexts
        .iter()
        .filter(|record| record.grown_bytes() > 0)
        .map(|record| {
            let recorder = &guest.store.data().recorder;
            let name = match recorder.context(&guest.store, record.index) {
                Context::Stack(frames) => format!("stack of {}", frames.len()),
                Context::Interpreted(_) => "lines".to_owned(),
                Context::Synthetic(name) => name.to_string(),
            };
            (name, record.grown_bytes(), record.unseen_bytes)
        })
        .collect();
    growths.sort();
    growths
}

#[test]
fn growth_for_an_entry_point_is_counted_under_the_call_of_the_entry_point() {
    // `twice` grows memory in two steps, and `calloc` through `malloc`. Both allocate in a context
    // that is new.
    let bytes = with_allocator(
        r#"(func $calloc (param i32 i32) (result i32)
            (call $malloc (i32.mul (local.get 0) (local.get 1))))
        (func $realloc (param i32 i32) (result i32)
            (drop (call $sbrk (i32.const 65536)))
            (call $malloc (local.get 1)))
        (func $twice (param i32) (drop (call $realloc (i32.const 0) (local.get 0))))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $malloc (i32.const 200000)))
            (drop (call $malloc (i32.const 100)))
            (call $twice (i32.const 300000))
            (drop (call $calloc (i32.const 3) (i32.const 100000)))
            (memory.size))"#,
    );
    let guest = check_same(&bytes, 0);
    let coverage = guest.reading().coverage;
    let growths = growths(&guest);
    let sum: u64 = growths.iter().map(|(_, bytes, _)| bytes).sum();
    assert_eq!(sum, coverage.heap_seen_bytes);
    assert_eq!(sum, coverage.memory_bytes - PAGE);
    assert_eq!(
        growths,
        [
            ("stack of 1".to_owned(), 3 * PAGE, 0),
            ("stack of 1".to_owned(), 5 * PAGE, 0),
            // One page first, which `realloc` asks for, and three for the block.
            ("stack of 2".to_owned(), 4 * PAGE, 0),
        ]
    );
}

#[test]
fn the_memory_of_a_module_that_starts_without_pages_is_counted() {
    let bytes = lift(
        r#"(memory 0)
        (func $malloc (param i32) (result i32)
            (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $malloc (i32.const 10)))
            (call $malloc (i32.const 10)))"#,
    );
    let coverage = check_same(&bytes, 0).reading().coverage;
    assert_eq!(coverage.memory_bytes, 2 * PAGE);
    assert_eq!(coverage.other_bytes(), 0);
}

#[test]
fn a_block_whose_memory_is_handed_out_again_was_freed() {
    // A bump allocator with a mark in static data, which `run` sets back: an inlined `free` of all
    // blocks. The second blocks have other addresses and other sizes than the first ones.
    let bytes = lift(
        r#"(memory 4)
        (func $malloc (param i32) (result i32)
            (i32.add (i32.const 8192) (i32.load (i32.const 2048)))
            (i32.store (i32.const 2048) (i32.and (i32.const -8)
                (i32.add (i32.load (i32.const 2048)) (i32.add (local.get 0) (i32.const 15))))))
        (func $free (param i32))
        (func $many (param i32 i32)
            (loop $again
                (drop (call $malloc (local.get 1)))
                (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func $run (export "run") (param i32) (result i32)
            (call $many (i32.const 300) (i32.const 100))
            (i32.store (i32.const 2048) (i32.const 4))
            (call $many (i32.const 100) (i32.const 200))
            (i32.const 0))"#,
    );
    assert_eq!(
        known_gap(&bytes),
        "core module 0 writes the data of its allocator outside of the entry points, in run"
    );
    let guest = check_same(&bytes, 0);
    let reading = guest.reading();
    // 100 blocks of 208 bytes replace the first 193 blocks of 108 bytes.
    let live = guest.live();
    assert_eq!(reading.coverage.reused_blocks, 300 - (live.1 - 100));
    assert_eq!(live.0, 100 * 200 + (live.1 - 100) * 100);
    let replaced = 100 * 208_u64;
    assert!(
        (300 - replaced / 104..=300 - replaced / 112).contains(&(live.1 - 100)),
        "{live:?}"
    );
    let meta = guest.store.data().recorder.meta();
    let range = reading.live_range(meta);
    assert_eq!((range.at_least, range.at_most), (0, Some(4 * PAGE)));
}
