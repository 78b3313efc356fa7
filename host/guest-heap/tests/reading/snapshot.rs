//! Snapshots: groups, their order, and the agreement of their sums with the reading.

use guest_heap::diff::{Baseline, Diff};
use guest_heap::reading::{Context, ContextRecord, Reading, Resizes};
use guest_heap::snapshot::{GroupBy, Snapshot, Usage};

use crate::lines_guest::{reading_of, recorded, symbols};
use crate::synthetic::{no_symbols, snapshot};

const ALL_GROUPINGS: [GroupBy; 4] = [
    GroupBy::Line,
    GroupBy::Function,
    GroupBy::File,
    GroupBy::Trace,
];

fn real() -> Snapshot {
    let (reading, contexts) = reading_of(&recorded().all());
    Snapshot::new(
        &reading,
        |index| contexts.get(index as usize).cloned(),
        symbols(),
    )
}

fn sum(usages: impl Iterator<Item = Usage>) -> (u64, u64) {
    usages.fold((0, 0), |(bytes, objects), usage| {
        (bytes + usage.live_bytes, objects + usage.live_objects)
    })
}

#[test]
fn every_grouping_adds_up_to_the_reading() {
    let snapshot = real();
    let totals = snapshot.totals();
    assert!(
        totals.live_bytes > 50_000 && totals.contexts > 30,
        "{totals:?}"
    );
    for by in ALL_GROUPINGS {
        let groups = snapshot.top(by, usize::MAX);
        assert_eq!(
            sum(groups.iter().map(|group| group.usage)),
            (totals.live_bytes, totals.live_objects),
            "{by:?}"
        );
        assert!(
            groups.is_sorted_by(|a, b| a.usage.live_bytes >= b.usage.live_bytes),
            "{by:?}"
        );
    }
    let count = |by| snapshot.top(by, usize::MAX).len();
    assert!(
        count(GroupBy::File) < count(GroupBy::Line) && count(GroupBy::Line) < count(GroupBy::Trace)
    );
    assert_eq!(count(GroupBy::Trace) as u64, totals.contexts);
}

#[test]
fn groups_by_file_and_function_name_the_users_code() {
    let snapshot = real();
    let files: Vec<String> = snapshot
        .top(GroupBy::File, 9)
        .iter()
        .map(|group| group.location.to_string())
        .collect();
    assert_eq!(
        files,
        [
            "src/lib.rs",
            "inner-crate/src/lib.rs",
            "middle-crate/src/lib.rs"
        ]
    );
    let functions = snapshot.top(GroupBy::Function, usize::MAX);
    assert!(
        functions
            .iter()
            .any(|group| &*group.location == "lines::plain_vector"),
        "{functions:#?}"
    );
    assert_eq!(&*functions[0].location, &*functions[0].site.function);
}

#[test]
fn only_traces_have_frames_and_the_limit_keeps_the_largest() {
    let snapshot = real();
    let traces = snapshot.top(GroupBy::Trace, 3);
    assert_eq!(traces.len(), 3);
    assert!(traces.iter().all(|group| group.frames.len() > 5));
    assert!(
        snapshot
            .top(GroupBy::Line, 3)
            .iter()
            .all(|group| group.frames.is_empty())
    );
}

#[test]
fn bytes_without_a_context_are_unattributed() {
    let (mut reading, contexts) = reading_of(recorded().case("plain_vector"));
    reading.totals.live_bytes += 77;
    reading.totals.live_objects += 2;
    let whole = Snapshot::new(
        &reading,
        |index| contexts.get(index as usize).cloned(),
        symbols(),
    );
    let lines = whole.top(GroupBy::Line, 9);
    assert_eq!(sum(lines.iter().map(|group| group.usage)), (4096 + 77, 3));
    assert_eq!(
        (&*lines[1].location, lines[1].usage.live_bytes),
        ("unattributed", 77)
    );

    // The stack of the context is not captured yet.
    let unknown = Snapshot::new(&reading, |_| None, symbols());
    let lines = unknown.top(GroupBy::Line, 9);
    assert_eq!(
        (lines.len(), &*lines[0].location, lines[0].usage.live_bytes),
        (1, "unattributed", 4096 + 77)
    );
}

#[test]
fn freed_blocks_count_as_allocated_but_not_as_live() {
    let snapshot = snapshot(&no_symbols(), &[("a", 50, 2), ("gone", 0, 0)]);
    let lines = snapshot.top(GroupBy::Line, 9);
    assert_eq!(lines.len(), 1, "a place without live blocks is listed");
    let expected = Usage {
        live_bytes: 50,
        live_objects: 2,
        allocated_bytes: 1050,
        allocated_objects: 3,
    };
    assert_eq!(lines[0].usage, expected);
    assert_eq!(
        snapshot.entries().len(),
        2,
        "an entry without live blocks is missing"
    );
}

#[test]
fn a_snapshot_is_small() {
    let places: Vec<(String, u64, u64)> =
        (0..1000).map(|place| (format!("p{place}"), 1, 1)).collect();
    let bytes = snapshot(&no_symbols(), &places).memory_bytes();
    assert!(bytes <= 80_000, "{bytes} for 1,000 contexts");
}

#[test]
fn a_line_that_resized_blocks_has_its_own_share() {
    let stacks = ["first", "second"].map(|name| Context::Synthetic(name.into()));
    let record = |index: u32, bytes: u64, freed: u64| ContextRecord {
        index,
        allocated_bytes: bytes,
        freed_bytes: freed,
        allocated_objects: 1,
        freed_objects: u64::from(freed > 0),
        ..ContextRecord::default()
    };
    // The first context allocated 1,000 bytes, and the second made 5,000 of them.
    let mut reading = Reading {
        contexts: vec![record(0, 1000, 1000), record(1, 5000, 0)],
        ..Reading::default()
    };
    reading.contexts[1].resizes = Resizes {
        objects: 1,
        taken_over_bytes: 1000,
        kept_bytes: 0,
        from: Some(0),
    };
    let take = |reading: &Reading| {
        let context_of = |index: u32| stacks.get(index as usize).cloned();
        Snapshot::new(reading, context_of, no_symbols())
    };
    let snapshot = take(&reading);
    let top = &snapshot.top(GroupBy::Line, 5)[0];
    assert_eq!((&*top.location, top.usage.live_bytes), ("second", 5000));
    let resized = top.resized.as_ref().unwrap();
    assert_eq!((resized.objects, resized.own_bytes), (1, 4000));
    assert_eq!(resized.from.len(), 1);
    assert_eq!(&*resized.from[0], "first");

    let baseline = Baseline::empty(&snapshot);
    for by in [GroupBy::Line, GroupBy::Trace] {
        let diff = Diff::new(&baseline, &snapshot, by, 5);
        assert_eq!(diff.growing[0].resized.as_ref(), Some(resized));
    }
    // A block that the same line resizes is all its own.
    reading.contexts[1].resizes = Resizes {
        objects: 3,
        kept_bytes: 0,
        ..Resizes::default()
    };
    let snapshot = take(&reading);
    let top = &snapshot.top(GroupBy::Line, 5)[0];
    let resized = top.resized.as_ref().unwrap();
    assert_eq!((resized.own_bytes, resized.from.len()), (5000, 0));
}

#[test]
fn growth_of_memory_is_grouped_and_adds_up() {
    const PAGE: u64 = 65_536;
    let names = ["first", "second", "first"].map(|name| Context::Synthetic(name.into()));
    let record = |index: u32, seen: u64, unseen: u64| ContextRecord {
        index,
        seen_bytes: seen * PAGE,
        unseen_bytes: unseen * PAGE,
        unseen_growths: unseen,
        ..ContextRecord::default()
    };
    let mut reading = Reading {
        contexts: vec![record(0, 1, 0), record(1, 4, 2), record(2, 0, 1)],
        ..Reading::default()
    };
    // One page for which an entry point has no context.
    reading.coverage.heap_seen_bytes = 6 * PAGE;
    reading.coverage.heap_unseen_bytes = 3 * PAGE;
    let context_of = |index: u32| names.get(index as usize).cloned();
    let snapshot = Snapshot::new(&reading, context_of, no_symbols());
    assert_eq!(snapshot.entries().len(), 0, "a growth is no block");
    let groups: Vec<_> = snapshot
        .top_growth(GroupBy::Line, 9)
        .into_iter()
        .map(|group| {
            let pages = [group.bytes, group.unseen_bytes].map(|bytes| bytes / PAGE);
            (group.location.to_string(), pages)
        })
        .collect();
    let expected = [
        ("second", [6, 2]),
        ("first", [2, 1]),
        ("unattributed", [1, 0]),
    ];
    assert_eq!(
        groups,
        expected.map(|(name, pages)| (name.to_owned(), pages))
    );
    assert_eq!(snapshot.top_growth(GroupBy::Line, 1).len(), 1);
    let traces = snapshot.top_growth(GroupBy::Trace, 9);
    assert_eq!(traces.len(), 3, "a synthetic context is one trace");
    assert!(traces.iter().all(|group| !group.frames.is_empty()));
}
