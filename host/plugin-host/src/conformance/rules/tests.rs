//! Each rule at the edges of its tolerance.

use super::super::drive::{Level, Top};
use super::*;

const KIB: u64 = 1024;

fn held(objects: u64, bytes: u64) -> Retained {
    Retained { objects, bytes }
}

/// A leak of one block of a KiB per request, from a start at which 10 KiB are live.
fn leak() -> Leaky {
    let step = |n: u64| Step {
        triggered: true,
        retained: held(n, n * KIB),
        live: Some((10 + n) * KIB),
        blocks: Some(5 + n),
    };
    let start = Level {
        retained: held(0, 0),
        live: Some(10 * KIB),
        blocks: Some(5),
    };
    Leaky {
        start,
        steps: (1..=200).map(step).collect(),
        times: vec![Duration::from_micros(10); 200],
        contradiction: None,
        cleared: held(200, 200 * KIB),
        after_clear: start,
        top: Some(Top {
            location: "plugins/p/src/lib.rs:7".into(),
            bytes: 200 << 10,
            own: true,
        }),
    }
}

fn manifest() -> Manifest {
    Manifest {
        id: "p".into(),
        version: "1".into(),
        title: "P".into(),
        description: "P".into(),
        unit: "ps".into(),
        settings: Vec::new(),
    }
}

#[track_caller]
fn check(verdict: Verdict, status: Status, says: &str) {
    assert_eq!(verdict.0, status, "{}", verdict.1);
    assert!(verdict.1.contains(says), "{says:?} in {:?}", verdict.1);
}

#[test]
fn retained_bytes_are_those_that_live_after_every_request() {
    check(
        retained(&leak(), &manifest()),
        Status::Pass,
        "1024.0 bytes live",
    );
    let mut off = leak();
    for step in &mut off.steps {
        step.retained.bytes = step.retained.bytes * 94 / 100;
    }
    check(retained(&off, &manifest()), Status::Pass, "retains 962.6");
    for step in &mut off.steps {
        step.retained.bytes /= 2;
    }
    check(
        retained(&off, &manifest()),
        Status::Fail,
        "after request 200",
    );
    // Right in the end is not enough.
    let mut late = leak();
    late.steps[100].retained.bytes = 0;
    check(
        retained(&late, &manifest()),
        Status::Fail,
        "after request 101",
    );
}

#[test]
fn a_decoy_that_retains_and_lets_go_keeps_its_promises() {
    let mut sawtooth = leak();
    for (n, step) in (1u64..).zip(&mut sawtooth.steps) {
        let now = n % 20;
        step.retained = held(now, now * KIB);
        step.live = Some((10 + now) * KIB);
        step.blocks = Some(5 + now);
    }
    sawtooth.cleared = held(0, 0);
    sawtooth.top = None;
    check(retained(&sawtooth, &manifest()), Status::Pass, "");
    check(counts(&sawtooth), Status::Pass, "0 objects");
    check(clear(&sawtooth), Status::Pass, "+0 bytes");
    check(source(&sawtooth), Status::NotApplicable, "nothing grew");
}

#[test]
fn what_is_counted_adds_up() {
    check(counts(&leak()), Status::Pass, "200 objects");
    let mut twice = leak();
    for step in &mut twice.steps {
        step.retained.objects *= 2;
    }
    twice.cleared.objects *= 2;
    check(counts(&twice), Status::Fail, "after request 1 it counts 2");
    let mut says_otherwise = leak();
    says_otherwise.cleared.objects = 199;
    check(counts(&says_otherwise), Status::Fail, "clear answers 199");
    let mut left = leak();
    left.after_clear.retained.objects = 1;
    check(counts(&left), Status::Fail, "after clear 1 objects");
    let mut contradicts = leak();
    contradicts.contradiction = Some((held(3, 0), held(4, 0)));
    check(counts(&contradicts), Status::Fail, "retained 4 objects");
    // Several objects a request, each in a block of its own, are many but not wrong.
    let mut many = leak();
    for (n, step) in (1u64..).zip(&mut many.steps) {
        step.retained.objects = 3 * n;
        step.blocks = Some(5 + 3 * n);
    }
    many.cleared.objects = 600;
    check(counts(&many), Status::Pass, "600 objects");
}

#[test]
fn a_clear_gives_back_all_but_a_little() {
    check(clear(&leak()), Status::Pass, "+0 after clear");
    let mut left = leak();
    left.after_clear.live = Some(18 * KIB);
    check(clear(&left), Status::Pass, "+8192");
    left.after_clear.live = Some(19 * KIB);
    check(clear(&left), Status::Fail, "+9216");
}

#[test]
fn the_fixed_variant_stays_where_it_is() {
    let of = |first, second| {
        fixed(&Fixed {
            first_peak: Some(first),
            second_peak: Some(second),
        })
    };
    check(of(100 * KIB, 90 * KIB), Status::Pass, "peaks");
    check(of(100 * KIB, 106 * KIB), Status::Pass, "peaks");
    check(of(100 * KIB, 107 * KIB), Status::Fail, "then at");
}

#[test]
fn looking_changes_nothing() {
    let level = |live| Level {
        retained: held(1, 1),
        live: Some(live),
        blocks: Some(1),
    };
    let of = |after: Level| {
        disabled(&Idle {
            before: level(5000),
            after,
            calls: 200,
        })
    };
    check(of(level(6024)), Status::Pass, "+1024");
    check(of(level(6025)), Status::Fail, "+1025");
    let more = Level {
        retained: held(2, 1),
        ..level(5000)
    };
    check(of(more), Status::Fail, "has changed");
}

#[test]
fn the_line_that_grew_most_is_the_plugins() {
    check(source(&leak()), Status::Pass, "src/lib.rs:7");
    let mut library = leak();
    library.top = Some(Top {
        location: "alloc/src/vec.rs:1".into(),
        bytes: 200 << 10,
        own: false,
    });
    check(source(&library), Status::Fail, "not its own");
}

#[test]
fn files_and_network_are_not_usual() {
    let asked = |names: &[&str]| imports(&names.iter().map(|n| (*n).into()).collect::<Vec<_>>());
    check(
        asked(&["wasi:cli/stderr@0.2.6", "leak-lab:plugin/logging@0.1.0"]),
        Status::Pass,
        "2: ",
    );
    check(
        asked(&["wasi:cli/stderr@0.2.6", "wasi:filesystem/types@0.2.6"]),
        Status::Fail,
        "asks for wasi:filesystem/types@0.2.6",
    );
}
