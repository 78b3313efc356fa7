use std::sync::Arc;

use super::*;
use crate::symbols::Site;

const CALLS: [u64; 4] = [0, 100, 200, 300];

fn line(name: &str, bytes: [u64; 4]) -> LineFloors {
    LineFloors {
        site: Arc::new(Site {
            location: name.into(),
            function: name.into(),
            file: None,
            line: None,
        }),
        blocks: FloorSeries(bytes.iter().map(|bytes| bytes / 8).collect()),
        bytes: FloorSeries(bytes.to_vec()),
    }
}

/// The verdict on a guest whose lines have these floors and whose linear memory has these.
fn verdict(lines: &[LineFloors], linear: [u64; 4], live_now: u64) -> Verdict {
    let live = (0..4).map(|window| lines.iter().map(|line| line.bytes.0[window]).sum());
    Verdict::of_guest(&Evidence {
        handles: HandleGrowth::default(),
        calls: &CALLS,
        lines,
        live: &FloorSeries(live.collect()),
        linear: &FloorSeries(linear.to_vec()),
        unseen: &FloorSeries(vec![0; 4]),
        live_now,
    })
}

#[test]
fn lines_that_grow_in_every_window_leak() {
    let lines = [
        line("a", [0, 1000, 2000, 3000]),
        line("b", [0, 500, 1000, 1500]),
        line("flat", [9, 9, 9, 9]),
    ];
    let leak = verdict(&lines, [65_536; 4], 4509);
    assert_eq!(
        leak,
        Verdict::Leak {
            lines: 2,
            bytes_per_call: 15.0
        }
    );
    assert!(leak.is_leak());
    assert_eq!(
        leak.sentence(400, "request"),
        "your code leaks: 2 lines grew in every window, by 15 bytes per request"
    );
}

#[test]
fn a_leak_is_not_hidden_by_a_cache_that_fills() {
    let lines = [
        line("leak", [0, 10, 20, 30]),
        line("cache", [0, 8000, 10_000, 10_500]),
    ];
    let leak = verdict(&lines, [65_536; 4], 10_530);
    assert!(matches!(leak, Verdict::Leak { lines: 1, .. }), "{leak:?}");
    let cache = verdict(&lines[1..], [65_536; 4], 10_500);
    assert_eq!(cache, Verdict::FillingCache { lines: 1 });
    assert!(!cache.is_leak());
}

#[test]
fn linear_memory_that_grows_over_a_flat_heap_is_the_allocators() {
    let held = verdict(&[], [100_000, 200_000, 300_000, 400_000], 0);
    assert_eq!(
        held,
        Verdict::AllocatorHoldsMemory {
            linear_bytes_per_call: 1000.0,
            live_bytes: 0,
            linear_bytes: 400_000
        }
    );
    // One step at the start is what every guest does.
    let warm = verdict(&[], [100_000, 200_000, 200_000, 200_000], 0);
    assert_eq!(warm, Verdict::NoLeak);
}

#[test]
fn garbage_above_a_flat_floor_waits_for_the_collector() {
    let lines = [line("garbage", [1000, 1000, 1000, 1000])];
    let waiting = verdict(&lines, [1 << 20; 4], 500_000);
    assert_eq!(
        waiting,
        Verdict::CollectorHasNotRun {
            live_bytes: 500_000,
            floor_bytes: 1000
        }
    );
    assert!(!waiting.is_leak());
    assert_eq!(verdict(&lines, [1 << 20; 4], 3000), Verdict::NoLeak);
    // The floor rises below the garbage: that is a leak.
    let lines = [line("kept", [1000, 2000, 3000, 4000])];
    let leak = verdict(&lines, [1 << 20; 4], 500_000);
    assert!(matches!(leak, Verdict::Leak { .. }), "{leak:?}");
}

#[test]
fn growth_that_no_allocator_made_is_unseen() {
    let flat = FloorSeries(vec![10; 4]);
    let verdict = Verdict::of_guest(&Evidence {
        handles: HandleGrowth::default(),
        calls: &CALLS,
        lines: &[],
        live: &flat,
        linear: &FloorSeries(vec![0, 65_536, 131_072, 196_608]),
        unseen: &FloorSeries(vec![0, 65_536, 131_072, 196_608]),
        live_now: 10,
    });
    let bytes_per_call = 196_608.0 / 300.0;
    assert_eq!(verdict, Verdict::UnseenGrowth { bytes_per_call });
}

#[test]
fn the_host_leaks_if_it_grows_and_its_guests_do_not() {
    let of = |resident, guests| {
        Verdict::of_host(HostEvidence {
            resident_bytes_per_second: resident,
            guests_bytes_per_second: guests,
        })
    };
    let host = of(100_000.0, 1000.0).unwrap();
    assert_eq!(
        host.sentence(0, "request"),
        "the host leaks, not the guest: resident memory grows by 99,000 bytes per second, and no \
         guest grows"
    );
    assert_eq!(of(100_000.0, 90_000.0), None);
    assert_eq!(of(0.0, 0.0), None);
    assert_eq!(of(-5.0, -100.0), None);
}

#[test]
fn numbers_are_singular_and_grouped() {
    assert_eq!(Verdict::NoLeak.sentence(1, "call"), "no leak in 1 call");
    assert_eq!(
        Verdict::NoLeak.sentence(1200, "call"),
        "no leak in 1,200 calls"
    );
    assert_eq!(rounded(12.25), "12.2");
    assert_eq!(rounded(5120.4), "5,120");
}

#[test]
fn handles_leak_if_no_line_holds_more_memory() {
    let same = FloorSeries(vec![8, 8, 8]);
    let handles = HandleGrowth {
        lines: 1,
        handles: 20,
    };
    let evidence = Evidence {
        calls: &[0, 10, 20],
        lines: &[],
        live: &same,
        linear: &same,
        unseen: &same,
        live_now: 8,
        handles,
    };
    let verdict = Verdict::of_guest(&evidence);
    assert_eq!((verdict.name(), verdict.is_leak()), ("handles-leak", true));
    assert_eq!(
        verdict.sentence(30, "round"),
        "handles leak: 1 line got more in every window, by 1 handle per round"
    );
}
