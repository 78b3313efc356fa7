//! Each rule at the edges of its tolerance.

use std::time::Duration;

use guest_heap::Coverage;

use super::component::imports;
use super::heap::{clear, counts, disabled, fixed, retained, source};
use super::*;
use crate::conformance::runs::{Answered, FixedRun, HeapLevel, IdleRun, LeakyRun, TopLine};
use crate::instance::Retained;

const KIB: u64 = 1024;

fn objects_and_bytes(objects: u64, bytes: u64) -> Retained {
    Retained { objects, bytes }
}

/// A leak of one block of 1 KiB per request. At the start 10 KiB are live.
fn leak() -> LeakyRun {
    let answer = |n: u64| Answered {
        triggered: true,
        retained: objects_and_bytes(n, n * KIB),
        live: Some((10 + n) * KIB),
        blocks: Some(5 + n),
    };
    let start = HeapLevel {
        retained: objects_and_bytes(0, 0),
        live: Some(10 * KIB),
        blocks: Some(5),
    };
    LeakyRun {
        start,
        answers: (1..=200).map(answer).collect(),
        times: vec![Duration::from_micros(10); 200],
        contradiction: None,
        cleared: objects_and_bytes(200, 200 * KIB),
        after_clear: start,
        top_line: Some(TopLine {
            location: "plugins/p/src/lib.rs:7".into(),
            bytes: 200 << 10,
            own: true,
        }),
        coverage: Coverage::default(),
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
        is_masked: false,
    }
}

#[track_caller]
fn check(verdict: Verdict, status: RowStatus, says: &str) {
    assert_eq!(verdict.0, status, "{}", verdict.1);
    assert!(verdict.1.contains(says), "{says:?} in {:?}", verdict.1);
}

#[test]
fn retained_bytes_must_be_live_after_every_request() {
    check(
        retained(&leak(), &manifest()),
        RowStatus::Pass,
        "1024.0 live",
    );
    let mut off = leak();
    for answer in &mut off.answers {
        answer.retained.bytes = answer.retained.bytes * 94 / 100;
    }
    check(
        retained(&off, &manifest()),
        RowStatus::Pass,
        "962.6 retained",
    );
    for answer in &mut off.answers {
        answer.retained.bytes /= 2;
    }
    check(
        retained(&off, &manifest()),
        RowStatus::Fail,
        "after request 200",
    );
    // The last request alone does not decide.
    let mut late = leak();
    late.answers[100].retained.bytes = 0;
    check(
        retained(&late, &manifest()),
        RowStatus::Fail,
        "after request 101",
    );
}

#[test]
fn a_decoy_that_retains_and_drops_keeps_its_promises() {
    let mut sawtooth = leak();
    for (n, answer) in (1u64..).zip(&mut sawtooth.answers) {
        let now = n % 20;
        answer.retained = objects_and_bytes(now, now * KIB);
        answer.live = Some((10 + now) * KIB);
        answer.blocks = Some(5 + now);
    }
    sawtooth.cleared = objects_and_bytes(0, 0);
    sawtooth.top_line = None;
    check(retained(&sawtooth, &manifest()), RowStatus::Pass, "");
    check(counts(&sawtooth), RowStatus::Pass, "0 objects");
    check(clear(&sawtooth), RowStatus::Pass, "+0 bytes");
    check(source(&sawtooth), RowStatus::NotApplicable, "nothing grew");
}

#[test]
fn counts_must_agree() {
    check(counts(&leak()), RowStatus::Pass, "200 objects");
    let mut twice = leak();
    for answer in &mut twice.answers {
        answer.retained.objects *= 2;
    }
    twice.cleared.objects *= 2;
    check(
        counts(&twice),
        RowStatus::Fail,
        "after request 1 it counts 2",
    );
    let mut wrong_clear = leak();
    wrong_clear.cleared.objects = 199;
    check(counts(&wrong_clear), RowStatus::Fail, "clear answers 199");
    let mut left = leak();
    left.after_clear.retained.objects = 1;
    check(counts(&left), RowStatus::Fail, "after clear 1 objects");
    let mut contradicts = leak();
    contradicts.contradiction = Some((objects_and_bytes(3, 0), objects_and_bytes(4, 0)));
    check(
        counts(&contradicts),
        RowStatus::Fail,
        "retained answers 4 objects",
    );
    // Several objects per request are valid if each has a block of its own.
    let mut many = leak();
    for (n, answer) in (1u64..).zip(&mut many.answers) {
        answer.retained.objects = 3 * n;
        answer.blocks = Some(5 + 3 * n);
    }
    many.cleared.objects = 600;
    check(counts(&many), RowStatus::Pass, "600 objects");
}

#[test]
fn a_clear_may_leave_only_a_little() {
    check(clear(&leak()), RowStatus::Pass, "+0 after clear");
    let mut left = leak();
    left.after_clear.live = Some(18 * KIB);
    check(clear(&left), RowStatus::Pass, "+8192");
    left.after_clear.live = Some(19 * KIB);
    check(clear(&left), RowStatus::Fail, "+9216");
}

#[test]
fn the_peak_of_the_fixed_variant_may_rise_only_a_little() {
    let of = |first, second| {
        fixed(&FixedRun {
            first_peak: Some(first),
            second_peak: Some(second),
            coverage: Coverage::default(),
        })
    };
    check(of(100 * KIB, 90 * KIB), RowStatus::Pass, "peaks");
    check(of(100 * KIB, 106 * KIB), RowStatus::Pass, "peaks");
    check(of(100 * KIB, 107 * KIB), RowStatus::Fail, "then at");
}

#[test]
fn calls_without_requests_change_nothing() {
    let level = |live| HeapLevel {
        retained: objects_and_bytes(1, 1),
        live: Some(live),
        blocks: Some(1),
    };
    let of = |after: HeapLevel| {
        disabled(&IdleRun {
            before: level(5000),
            after,
            calls: 200,
            coverage: Coverage::default(),
        })
    };
    check(of(level(6024)), RowStatus::Pass, "+1024");
    check(of(level(6025)), RowStatus::Fail, "+1025");
    let more = HeapLevel {
        retained: objects_and_bytes(2, 1),
        ..level(5000)
    };
    check(of(more), RowStatus::Fail, "has changed");
}

#[test]
fn the_line_that_grew_most_must_be_the_plugins_own() {
    check(source(&leak()), RowStatus::Pass, "src/lib.rs:7");
    let mut library = leak();
    library.top_line = Some(TopLine {
        location: "alloc/src/vec.rs:1".into(),
        bytes: 200 << 10,
        own: false,
    });
    check(source(&library), RowStatus::Fail, "not its own");
}

#[test]
fn imports_of_files_and_network_are_refused() {
    let imported = |names: &[&str]| imports(&names.iter().map(|n| (*n).into()).collect::<Vec<_>>());
    check(
        imported(&["wasi:cli/stderr@0.2.6", "leak-lab:plugin/logging@0.1.0"]),
        RowStatus::Pass,
        "2: ",
    );
    check(
        imported(&["wasi:cli/stderr@0.2.6", "wasi:filesystem/types@0.2.6"]),
        RowStatus::Fail,
        "imports wasi:filesystem/types@0.2.6",
    );
}

#[test]
fn a_heap_that_is_not_exact_fails_no_rule() {
    let partial = Attribution::Partial {
        why: "3 frees of blocks whose allocation was not seen".to_owned(),
    };
    let judge = |attribution: &Attribution, status| {
        judge_heap(attribution, || (status, "7 of 9 bytes".to_owned()))
    };
    check(
        judge(&Attribution::Exact, RowStatus::Fail),
        RowStatus::Fail,
        "7 of 9 bytes",
    );
    check(
        judge(&partial, RowStatus::Pass),
        RowStatus::Pass,
        "7 of 9 bytes",
    );
    let verdict = judge(&partial, RowStatus::Fail);
    check(
        verdict.clone(),
        RowStatus::NotApplicable,
        "3 frees of blocks",
    );
    check(verdict, RowStatus::NotApplicable, "7 of 9 bytes");
    let off = Attribution::Off {
        why: "no names".to_owned(),
    };
    let verdict = judge_heap(&off, || unreachable!("nothing can be compared"));
    check(verdict, RowStatus::NotApplicable, "no names");
}
