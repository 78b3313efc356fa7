//! Tests of the context table, on the native target.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use guest_heap_runtime::contexts::{Contexts, MAX_CONTEXTS, NEW};

#[test]
fn indices_ascend_and_are_found_again() {
    let mut contexts = Box::new(Contexts::new());
    let value = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (i << 40);
    for i in 1..MAX_CONTEXTS as u64 {
        assert_eq!(contexts.find(value(i)), i as u32 | NEW);
    }
    for i in 1..MAX_CONTEXTS as u64 {
        assert_eq!(contexts.find(value(i)), i as u32);
        assert_eq!(contexts.record(i as u32).context, value(i));
    }
    // The table is full: further contexts share index 0.
    assert_eq!((contexts.find(1), contexts.find(2)), (0, 0));
    assert_eq!(contexts.header.overflowed, 2);
}

#[test]
fn contexts_with_the_same_slot_get_different_indices() {
    let mut contexts = Box::new(Contexts::new());
    for i in 0..1000_u64 {
        assert_eq!(contexts.find((i << 32) | 5), (i as u32 + 1) | NEW);
    }
    for i in 0..1000_u64 {
        assert_eq!(contexts.find((i << 32) | 5), i as u32 + 1);
    }
}

#[test]
fn the_table_keeps_colliding_contexts_when_it_grows() {
    // All of them collide at the initial number of slots, and only some at the final number.
    let value = |i: u64| (i % 7) << 40 | (i / 7) << 11 | 3;
    let mut contexts = Box::new(Contexts::new());
    for known in 1..6000_u64 {
        assert_eq!(contexts.find(value(known)), known as u32 | NEW);
        let earlier = 1 + known / 2;
        assert_eq!(contexts.find(value(earlier)), earlier as u32, "{known}");
    }
    for known in 1..6000_u64 {
        assert_eq!(contexts.find(value(known)), known as u32);
    }
}
