//! Tests of the signals and of the range of live bytes.

use super::*;

#[test]
fn a_memory_of_another_module_is_said_to_be_unknown() {
    let mut meta = InstrumentedMeta::off("");
    meta.set_attribution(Attribution::Exact, Missing::default());
    let coverage = Coverage {
        heap_seen_bytes: WASM_PAGE,
        ..Coverage::default()
    };
    assert!(!coverage.memory_is_known());
    assert_eq!(
        coverage.evidence(),
        "allocator entry points made 65,536 of 65,536 bytes of growth; the memory belongs to a \
         module that is not instrumented, so its size is not known"
    );
    let lost = Coverage {
        lost_blocks: 1,
        lost_bytes: 100,
        ..coverage
    };
    let range = lost.live_range(&meta, 7);
    assert_eq!((range.at_least, range.at_most), (7, None));
}

#[test]
fn each_signal_alone_makes_an_exact_attribution_partial() {
    let mut meta = InstrumentedMeta::off("");
    meta.set_attribution(Attribution::Exact, Missing::default());
    assert_eq!(Coverage::default().attribution(&meta), Attribution::Exact);
    let snapshot = Coverage {
        snapshot_frees: 8,
        ..Coverage::default()
    };
    assert_eq!(snapshot.attribution(&meta), Attribution::Exact);
    assert!(snapshot.evidence().ends_with("started from: 8"));
    type Set = fn(&mut Coverage);
    let signals: [(Set, &str); 6] = [
        (
            |it| {
                it.heap_unseen_bytes = 3 * WASM_PAGE;
                it.memory_bytes = 5 * WASM_PAGE;
                it.static_bytes = WASM_PAGE + 36;
                it.initial_heap_bytes = WASM_PAGE - 36;
            },
            "196,608 of 262,108 bytes over static data came by growth that no entry point \
             made, at most 65,500 at the start",
        ),
        (
            |it| it.memory_bytes = 3 * WASM_PAGE,
            "196,608 bytes came by growth in modules that are not instrumented",
        ),
        (
            |it| it.unknown_frees = 326,
            "frees of blocks whose allocation was not seen: 326",
        ),
        (
            |it| it.reused_blocks = 99,
            "blocks handed out again before a free was seen: 99",
        ),
        (
            |it| it.overflowed = 1,
            "allocations with folded call stacks: 1",
        ),
        (
            |it| (it.lost_blocks, it.lost_bytes) = (2, 80),
            "blocks that are not tracked, because the profiler got no memory: 2, with 80 bytes",
        ),
    ];
    for (set, why) in signals {
        let mut coverage = Coverage::default();
        set(&mut coverage);
        let expected = Attribution::Partial {
            why: why.to_owned(),
        };
        assert_eq!(coverage.attribution(&meta), expected);
    }
}

#[test]
fn the_range_of_live_bytes_follows_from_what_is_missed() {
    let quiet = Coverage {
        memory_bytes: 3 * WASM_PAGE,
        static_bytes: WASM_PAGE,
        heap_seen_bytes: WASM_PAGE,
        initial_heap_bytes: WASM_PAGE,
        ..Coverage::default()
    };
    let reused = Coverage {
        reused_blocks: 1,
        ..quiet
    };
    let unknown = Coverage {
        unknown_frees: 1,
        ..quiet
    };
    let missing = |frees, allocations, memories| Missing {
        frees,
        allocations,
        memories,
    };
    let none = Missing::default();
    let lost = Coverage {
        lost_blocks: 1,
        ..quiet
    };
    let range = |at_least, at_most| LiveRange { at_least, at_most };
    for (coverage, missing, expected) in [
        (quiet, none, range(7, Some(7))),
        (quiet, missing(true, false, false), range(0, Some(7))),
        (quiet, missing(false, true, false), range(7, Some(196_608))),
        (quiet, missing(true, true, false), range(0, Some(196_608))),
        (quiet, missing(true, true, true), range(0, None)),
        (reused, none, range(0, Some(7))),
        (unknown, none, range(0, Some(196_608))),
        (lost, none, range(7, Some(196_608))),
    ] {
        let mut meta = InstrumentedMeta::off("");
        meta.set_attribution(Attribution::Exact, missing);
        assert_eq!(coverage.live_range(&meta, 7), expected);
    }
    let off = InstrumentedMeta::off("no names");
    assert_eq!(quiet.live_range(&off, 0), LiveRange::UNKNOWN);
}

#[test]
fn the_reasons_from_before_and_after_the_start_are_both_given() {
    let mut meta = InstrumentedMeta::off("");
    let partial = Attribution::Partial {
        why: "before".to_owned(),
    };
    meta.set_attribution(partial, Missing::default());
    let coverage = Coverage {
        overflowed: 7,
        ..Coverage::default()
    };
    assert_eq!(
        coverage.attribution(&meta),
        Attribution::Partial {
            why: "before; allocations with folded call stacks: 7".to_owned()
        }
    );
    let off = InstrumentedMeta::off("no names");
    assert_eq!(coverage.attribution(&off), *off.attribution());
}
