//! Diffs, also between instances and between builds.

use guest_heap::diff::{Baseline, Diff};
use guest_heap::reading::{Context, Reading};
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::Symbols;

use crate::lines_guest::{options, reading_of, recorded, symbols};
use crate::synthetic::{no_symbols, snapshot};

fn listed(changes: &[guest_heap::diff::Change]) -> Vec<(&str, i64, i64, u64)> {
    changes
        .iter()
        .map(|change| {
            (
                &*change.location,
                change.bytes,
                change.objects,
                change.current_bytes,
            )
        })
        .collect()
}

#[test]
fn the_largest_changes_come_first() {
    let symbols = no_symbols();
    let before = snapshot(
        &symbols,
        &[
            ("a", 100, 1),
            ("b", 500, 5),
            ("c", 7, 1),
            ("gone", 30, 3),
            ("flat", 9, 9),
        ],
    );
    let after = snapshot(
        &symbols,
        &[
            ("new", 50, 1),
            ("a", 400, 4),
            ("b", 450, 4),
            ("c", 7, 2),
            ("flat", 9, 9),
        ],
    );
    let diff = Diff::new(&Baseline::new(&before), &after, GroupBy::Line, 10);
    assert_eq!(
        listed(&diff.growing),
        [("a", 300, 3, 400), ("new", 50, 1, 50), ("c", 0, 1, 7)]
    );
    assert_eq!(
        listed(&diff.shrinking),
        [("b", -50, -1, 450), ("gone", -30, -3, 0)]
    );
    assert_eq!((diff.bytes, diff.objects), (270, 1));

    let cut = Diff::new(&Baseline::new(&before), &after, GroupBy::Line, 1);
    assert_eq!(
        (cut.growing.len(), cut.shrinking.len(), cut.bytes),
        (1, 1, 270),
        "the sum covers all groups"
    );
}

#[test]
fn a_diff_without_changes_is_empty() {
    let snapshot = snapshot(&no_symbols(), &[("a", 100, 1)]);
    let diff = Diff::new(&Baseline::new(&snapshot), &snapshot, GroupBy::Trace, 10);
    assert!(diff.growing.is_empty() && diff.shrinking.is_empty());
    assert_eq!((diff.bytes, diff.objects), (0, 0));
}

#[test]
fn a_baseline_outlives_its_instance() {
    let symbols = symbols();
    let allocations = recorded().all();
    let (reading, contexts) = reading_of(&allocations);
    let before = Snapshot::new(
        &reading,
        |index| contexts.get(index as usize).cloned(),
        symbols.clone(),
    );
    // The next instance allocates at the same stacks in another order, so its contexts have other
    // numbers.
    let reversed: Vec<_> = allocations
        .iter()
        .rev()
        .cloned()
        .chain(recorded().case("closure").to_vec())
        .collect();
    let (reading, contexts) = reading_of(&reversed);
    let after = Snapshot::new(
        &reading,
        |index| contexts.get(index as usize).cloned(),
        symbols,
    );

    let baseline = Baseline::new(&before);
    assert_eq!(baseline.live_bytes(), before.totals().live_bytes);
    for by in [
        GroupBy::Line,
        GroupBy::Function,
        GroupBy::File,
        GroupBy::Trace,
    ] {
        let diff = Diff::new(&baseline, &after, by, 10);
        assert!(diff.shrinking.is_empty(), "{by:?}: {:#?}", diff.shrinking);
        assert_eq!(
            (diff.bytes, diff.objects),
            (1000 + 1001 + 1002 + 1003, 4),
            "{by:?}"
        );
        assert_eq!(
            diff.growing.iter().all(|change| change.frames.is_empty()),
            by != GroupBy::Trace,
            "{by:?}"
        );
    }
    let lines = Diff::new(&baseline, &after, GroupBy::Line, 10).growing;
    assert_eq!(lines.len(), 1, "different stacks, but one line");

    let empty = Snapshot::new(&Reading::default(), |_| None, after.symbols().clone());
    let reset = Diff::new(&baseline, &empty, GroupBy::Line, 100);
    assert_eq!(reset.bytes, -(before.totals().live_bytes as i64));
    assert!(reset.growing.is_empty());
}

#[test]
fn a_diff_between_builds_compares_lines_instead_of_stacks() {
    let (reading, contexts) = reading_of(&recorded().all());
    let context_of = |index: u32| contexts.get(index as usize).cloned();
    let before = Snapshot::new(&reading, context_of, symbols());
    // Another build: the same code after a custom section, so that every offset changes.
    let shift = [0, 5, 4, b's', b'h', b'i', b'f'];
    let component = &recorded().component;
    let moved: Vec<u8> = [&component[..8], &shift, &component[8..]].concat();
    let other = std::sync::Arc::new(Symbols::new(&moved, options()).unwrap());
    let shifted = |index: u32| match context_of(index)? {
        Context::Stack(stack) => Some(Context::Stack(
            stack
                .iter()
                .map(|offset| offset + shift.len() as u32)
                .collect(),
        )),
        synthetic => Some(synthetic),
    };
    let after = Snapshot::new(&reading, shifted, other);
    let baseline = Baseline::new(&before);
    assert!(!baseline.is_same_build(&after));
    for by in [GroupBy::Line, GroupBy::Trace] {
        let diff = Diff::new(&baseline, &after, by, 10);
        assert!(
            diff.growing.is_empty() && diff.shrinking.is_empty(),
            "{by:?}: {diff:#?}"
        );
    }
}
