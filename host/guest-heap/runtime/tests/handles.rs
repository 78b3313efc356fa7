//! Tests of the ledger of handles, on the native target.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use guest_heap_runtime::handles::{HandleCounts, HandleNumbers, MAX_HANDLES, MAX_TYPES};

/// The ledger, with `(context, type, made, ended)` of each entry in order.
#[derive(Default)]
struct Ledger {
    counts: Box<HandleCounts>,
    numbers: Box<HandleNumbers>,
}

impl Ledger {
    fn made(&mut self, handle: u32, context: u32, ty: u32) {
        self.counts.made(&mut self.numbers, handle, context, ty);
    }

    fn ended(&mut self, handle: u32) {
        self.counts.ended(&mut self.numbers, handle);
    }

    fn entries(&self) -> Vec<(u32, u32, u64, u64)> {
        let entries = self.counts.entries();
        let mut entries: Vec<_> = entries
            .map(|entry| (entry.context, entry.ty, entry.made, entry.ended))
            .collect();
        entries.sort_unstable();
        entries
    }
}

#[test]
fn handles_count_by_context_and_type() {
    let mut ledger = Ledger::default();
    ledger.made(1, 7, 1);
    ledger.made(2, 7, 1);
    ledger.made(3, 7, 2);
    ledger.made(4, 8, 1);
    ledger.ended(2);
    ledger.ended(2);
    ledger.ended(9);
    ledger.ended(0);
    assert_eq!(ledger.entries(), [(7, 1, 2, 1), (7, 2, 1, 0), (8, 1, 1, 0)]);
}

#[test]
fn a_number_that_is_handed_out_again_ends_its_former_owner() {
    let mut ledger = Ledger::default();
    ledger.made(1, 7, 1);
    ledger.made(1, 8, 1);
    assert_eq!(ledger.entries(), [(7, 1, 1, 1), (8, 1, 1, 0)]);
    ledger.ended(1);
    assert_eq!(ledger.entries(), [(7, 1, 1, 1), (8, 1, 1, 1)]);
}

#[test]
fn numbers_beyond_the_bound_are_untracked() {
    let mut ledger = Ledger::default();
    for handle in 1..MAX_HANDLES as u32 + 10 {
        ledger.made(handle, 7, 1);
    }
    assert_eq!(ledger.entries(), [(7, 1, MAX_HANDLES as u64 - 1, 0)]);
    assert_eq!(ledger.counts.untracked, 10);
    for handle in 1..MAX_HANDLES as u32 + 10 {
        ledger.ended(handle);
    }
    let all = MAX_HANDLES as u64 - 1;
    assert_eq!(ledger.entries(), [(7, 1, all, all)]);
}

#[test]
fn contexts_beyond_the_room_count_by_type() {
    let mut ledger = Ledger::default();
    for context in 1..=5000 {
        ledger.made(context, context, context % 2 + 1);
    }
    let entries = ledger.entries();
    assert_eq!(entries.len(), 3072 + 2);
    let overflow: Vec<_> = entries.iter().take(2).copied().collect();
    assert_eq!(overflow, [(0, 1, 964, 0), (0, 2, 964, 0)]);
    for handle in 1..=5000 {
        ledger.ended(handle);
    }
    let entries = ledger.entries();
    assert!(entries.iter().all(|(_, _, made, ended)| made == ended));
}

#[test]
fn an_unknown_type_counts_as_type_0() {
    let mut ledger = Ledger::default();
    ledger.made(1, 3, MAX_TYPES as u32);
    ledger.made(2, 0, u32::MAX);
    assert_eq!(ledger.entries(), [(0, 0, 1, 0), (3, 0, 1, 0)]);
}
