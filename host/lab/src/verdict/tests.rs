use guest_heap::verdict::{Sample, Windows};

use super::plugin::GrowingLine;
use super::*;
use crate::growth::Growth;

const MIB: u64 = 1 << 20;

fn leaking(plugin: &str, line: &str, bytes_per_request: f64) -> PluginVerdict {
    PluginVerdict {
        plugin: plugin.to_owned(),
        verdict: Verdict::Leak {
            lines: 1,
            bytes_per_call: bytes_per_request,
        },
        lines: vec![GrowingLine {
            location: line.into(),
            bytes_per_request,
        }],
        bytes_per_request,
        live_bytes: MIB,
        calls: 740,
        is_early: false,
        own_limit: None,
        next_step: None,
    }
}

fn judged(plugin: &str, verdict: Verdict) -> PluginVerdict {
    PluginVerdict {
        verdict,
        lines: Vec::new(),
        bytes_per_request: 0.0,
        ..leaking(plugin, "", 0.0)
    }
}

/// The verdict at 40 requests per second, with a limit of 256 MiB.
fn verdict(plugins: &[PluginVerdict], seconds_to_limit: Option<f64>) -> LabVerdict {
    LabVerdict::of(&Findings {
        plugins: plugins.to_vec(),
        process: Forecast {
            growth: Growth::at_rate(40.0),
            next_step: None,
            floor_bytes: None,
            seconds_to_limit,
        },
        host_bytes_per_second: 0.0,
        limit_bytes: Some(256 * MIB),
    })
}

#[test]
fn a_leak_says_where_how_fast_and_until_when() {
    let cache = leaking("cache", "plugins/cache/src/lib.rs:67", 5120.0);
    let found = verdict(std::slice::from_ref(&cache), Some(1080.0));
    assert_eq!(
        found.sentence,
        "cache leaks 5.0 KiB per request, `plugins/cache/src/lib.rs:67`; at 40 requests/s it \
         reaches 256 MiB in 18 min"
    );
    assert_eq!(
        (found.kind, found.severity),
        (VerdictKind::GuestLeak, Severity::Leak)
    );
    assert_eq!(found.plugin.as_deref(), Some("cache"));
    assert_eq!(
        found.location.as_deref(),
        Some("plugins/cache/src/lib.rs:67")
    );
    assert_eq!(found.bytes_per_request, 5120.0);
    assert_eq!(
        found.evidence,
        [
            "cache: your code leaks: 1 line grew in every window, by 5,120 bytes per request, in 740 \
          requests"
        ]
    );

    let near = verdict(std::slice::from_ref(&cache), Some(45.0));
    assert_eq!(near.severity, Severity::Critical);
    assert!(
        near.sentence.ends_with("it reaches 256 MiB in 45 s"),
        "{near:?}"
    );
    let dead = verdict(&[cache], Some(0.0));
    assert!(
        dead.sentence.ends_with("; the limit of 256 MiB is reached"),
        "{dead:?}"
    );
}

#[test]
fn several_leaks_are_added_up() {
    let leaks = [
        leaking("cache", "c.rs:1", 5120.0),
        leaking("history", "h.rs:2", 2048.0),
        leaking("listeners", "l.rs:3", 7168.0),
        judged("warm-up", Verdict::FillingCache { lines: 1 }),
    ];
    let found = verdict(&leaks, Some(400.0));
    assert_eq!(
        found.sentence,
        "listeners, cache and history leak 14.0 KiB per request, most of it at `l.rs:3`; at 40 \
         requests/s the process reaches 256 MiB in 7 min"
    );
    assert_eq!(found.plugin.as_deref(), Some("listeners"));
}

#[test]
fn a_limit_of_the_plugin_that_comes_first_counts() {
    let limited = PluginVerdict {
        own_limit: Some((90.0, 32 * MIB)),
        ..leaking("cache", "c.rs:1", 5120.0)
    };
    let found = verdict(&[limited], Some(1080.0));
    assert_eq!(found.seconds_to_limit, Some(90.0));
    assert!(
        found
            .sentence
            .ends_with("; at 40 requests/s it reaches 32 MiB in 90 s"),
        "{found:?}"
    );
}

#[test]
fn what_is_no_leak_is_calm() {
    let calm = |verdict_of: Verdict| {
        let found = verdict(&[judged("p", verdict_of)], None);
        assert_eq!(found.severity, Severity::Calm, "{found:?}");
        (found.kind, found.sentence)
    };
    assert_eq!(
        calm(Verdict::NoLeak),
        (VerdictKind::None, "no leak in 740 requests".to_owned())
    );
    assert_eq!(
        calm(Verdict::FillingCache { lines: 1 }).0,
        VerdictKind::Filling
    );
    let collector = Verdict::CollectorHasNotRun {
        live_bytes: 9 * MIB,
        floor_bytes: MIB,
    };
    assert_eq!(
        calm(collector),
        (
            VerdictKind::Collector,
            "p frees memory in batches: the floor does not rise, so this is no leak".to_owned()
        )
    );
    let idle = verdict(&[], None);
    assert_eq!(
        (idle.kind, idle.sentence.as_str()),
        (VerdictKind::None, "nothing leaks")
    );
}

#[test]
fn the_host_is_named_if_no_plugin_grows() {
    let of_host = |plugins: Vec<PluginVerdict>| {
        LabVerdict::of(&Findings {
            plugins,
            process: Forecast::default(),
            host_bytes_per_second: 40.0 * 1024.0,
            limit_bytes: None,
        })
    };
    let found = of_host(vec![judged("p", Verdict::NoLeak)]);
    assert_eq!(
        (found.kind, found.severity),
        (VerdictKind::Host, Severity::Leak)
    );
    assert_eq!(
        found.sentence,
        "the host leaks, not the plugins: resident memory grows by 40.0 KiB/s, and no plugin \
         grows; no requests now"
    );
    assert_eq!(
        of_host(vec![leaking("p", "a", 10.0)]).kind,
        VerdictKind::GuestLeak
    );
}

#[test]
fn early_growth_is_not_called_a_leak() {
    let early = PluginVerdict {
        is_early: true,
        ..leaking("sawtooth", "s.rs:5", 4096.0)
    };
    let found = verdict(std::slice::from_ref(&early), Some(1080.0));
    assert_eq!(
        (found.kind, found.severity),
        (VerdictKind::Growing, Severity::Calm)
    );
    assert_eq!(
        found.sentence,
        "sawtooth grows by 4.0 KiB per request, `s.rs:5`, and nothing was freed yet: a leak, or a \
         batch; at 40 requests/s it reaches 256 MiB in 18 min"
    );
    assert!(
        found.evidence[0].ends_with("looks the same before it falls"),
        "{found:?}"
    );
    // At the limit it does not matter what it is.
    let near = verdict(std::slice::from_ref(&early), Some(30.0));
    assert_eq!(near.severity, Severity::Critical);
    // A known leak matters more.
    let both = verdict(&[early, leaking("cache", "c.rs:1", 10.0)], None);
    assert_eq!(both.plugin.as_deref(), Some("cache"));
}

#[test]
fn the_next_doubling_is_announced() {
    let step = NextStep {
        piece_bytes: 16 * MIB,
        requests_left: 1200.0,
        seconds_left: Some(30.0),
        is_refused: true,
    };
    let doubling = PluginVerdict {
        own_limit: Some((30.0, 32 * MIB)),
        next_step: Some(step),
        ..leaking("interner", "i.rs:11", 1000.0)
    };
    let found = verdict(std::slice::from_ref(&doubling), None);
    assert!(
        found.sentence.ends_with(
            "; at 40 requests/s it needs 16 MiB more in one piece, which is refused at its limit of \
             32 MiB in 30 s"
        ),
        "{found:?}"
    );
    assert_eq!(found.next_step, Some(step));
    assert_eq!(found.severity, Severity::Critical);

    let granted = PluginVerdict {
        next_step: Some(NextStep {
            is_refused: false,
            ..step
        }),
        own_limit: Some((90.0, 64 * MIB)),
        ..doubling
    };
    let found = verdict(&[granted], None);
    assert!(
        found.sentence.ends_with("it reaches 64 MiB in 90 s"),
        "{found:?}"
    );
    assert_eq!(
        found.evidence[1],
        "interner: its memory grows in steps, and the next one needs 16.0 MiB more in one piece, in \
         30 s"
    );
}

#[test]
fn the_first_batch_of_a_sawtooth_accuses_nobody() {
    /// One sample per second with these requests, live bytes and linear bytes.
    fn windows(samples: impl Iterator<Item = (u64, u64, u64)>) -> Windows<u64> {
        let sample = |(at, (calls, live_bytes, linear_bytes))| Sample {
            at,
            calls,
            live_bytes,
            linear_bytes,
            unseen_bytes: 0,
        };
        Windows::of((0..).zip(samples).map(sample)).unwrap()
    }
    for samples in 11..60 {
        // The allocator asks for memory in the first tooth only.
        let saw = (0..samples).map(|n| (n * 10, n % 10 * 500_000, n.min(9) * 500_000 + 1));
        let found = PluginVerdict::of("sawtooth", &windows(saw), &[]).verdict;
        assert!(!found.is_leak(), "{found:?} after {samples} s");
    }
}
