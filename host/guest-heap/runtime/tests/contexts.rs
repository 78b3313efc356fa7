//! Tests of the context table, on the native target.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use guest_heap_runtime::contexts::{Contexts, FIRST_FOLDED, FULL, MAX_CONTEXTS, NEW};
use guest_heap_runtime::folds::Folds;

fn value(i: u64) -> u64 {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (i << 40)
}

/// A table with `count` contexts, which all have ascending indices.
fn filled(count: u64) -> Box<Contexts> {
    let mut contexts = Box::new(Contexts::new());
    for i in 1..=count {
        assert_eq!(contexts.search(value(i)), i as u32 | NEW);
    }
    contexts
}

#[test]
fn indices_ascend_and_are_found_again() {
    let mut contexts = Box::new(Contexts::new());
    let mut last = 0;
    while contexts.search(value(last + 1)) != FULL {
        last += 1;
    }
    assert!(last as usize > FIRST_FOLDED - 256 && (last as usize) < FIRST_FOLDED);
    for i in 1..=last {
        assert_eq!(contexts.search(value(i)), i as u32);
        assert!(
            contexts
                .find(value(i))
                .is_none_or(|found| found == i as u32)
        );
        assert_eq!(contexts.record(i as u32).context, value(i));
    }
    assert_eq!(contexts.search(1), FULL);
    // Some records are left for synthetic contexts.
    let mut synthetic = 0;
    while contexts.search_synthetic(value(last + 1 + synthetic)) & NEW != 0 {
        synthetic += 1;
    }
    assert!(synthetic >= 100, "{synthetic}");
    assert_eq!(last + synthetic, FIRST_FOLDED as u64 - 1);
    assert_eq!(contexts.search_synthetic(1), 0);
    assert_eq!(contexts.search_synthetic(value(3)), 3);
}

#[test]
fn contexts_with_the_same_slot_get_different_indices() {
    let mut contexts = Box::new(Contexts::new());
    for i in 0..1000_u64 {
        assert_eq!(contexts.search((i << 32) | 5), (i as u32 + 1) | NEW);
    }
    for i in 0..1000_u64 {
        assert_eq!(contexts.search((i << 32) | 5), i as u32 + 1);
    }
}

#[test]
fn the_table_keeps_colliding_contexts_when_it_grows() {
    // All of them collide at the initial number of slots, and only some at the final number.
    let value = |i: u64| (i % 7) << 40 | (i / 7) << 11 | 3;
    let mut contexts = Box::new(Contexts::new());
    for known in 1..6000_u64 {
        assert_eq!(contexts.search(value(known)), known as u32 | NEW);
        let earlier = 1 + known / 2;
        assert_eq!(contexts.search(value(earlier)), earlier as u32, "{known}");
    }
    for known in 1..6000_u64 {
        assert_eq!(contexts.search(value(known)), known as u32);
    }
}

#[test]
fn resizes_tell_own_bytes_from_those_of_other_contexts() {
    let mut contexts = filled(3);
    contexts.resize(2, 1, 100);
    contexts.resize(2, 2, 300);
    contexts.resize(2, 3, 50);
    let resizes = contexts.resizes(2);
    assert_eq!((resizes.objects, resizes.from), (3, 3 + 1));
    assert_eq!((resizes.taken_over_bytes, resizes.kept_bytes), (150, 300));
    assert_eq!(contexts.resizes(1).objects, 0);
}

#[test]
fn the_fold_table_keeps_the_most_recent_contexts() {
    let mut folds = Box::new(Folds::new());
    let folded = FIRST_FOLDED as u32;
    assert_eq!(folds.find(value(1)), None);
    assert_eq!(folds.insert(value(1), folded), folded);
    assert_eq!(folds.find(value(1)), Some(folded));
    // Neither a record of a context nor one beyond the table is a folded call stack.
    for wrong in [0, folded - 1, MAX_CONTEXTS as u32, u32::MAX] {
        assert_eq!(folds.insert(value(2), wrong), 0);
        assert_eq!(folds.find(value(2)), None);
    }
    for i in 3..100_000 {
        folds.insert(value(i), folded + i as u32 % 2048);
        assert_eq!(folds.find(value(i)), Some(folded + i as u32 % 2048));
    }
}
