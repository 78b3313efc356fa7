//! What the profiler costs Python programs, by the processor time of the calls.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use guest_heap::Options;

use crate::session::{Prepared, Session, processor_time};

/// Rounds of each measurement. The variants take turns. A factor is the median over the rounds of a
/// variant's time over that of the original component in the same round: others use this machine,
/// too, and slow down neighbours in time alike.
const ROUNDS: usize = 11;

/// A measured call.
struct Workload {
    name: &'static str,
    program: &'static str,
    export: &'static str,
    n: u32,
    /// The factor that the profiler may cost.
    target: f64,
}

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "allocation-heavy",
        program: "leaky",
        export: "work",
        n: 8_000,
        target: 1.25,
    },
    Workload {
        name: "integers",
        program: "leaky",
        export: "compute",
        n: 3_200_000,
        target: 1.45,
    },
    Workload {
        name: "standard library",
        program: "busy",
        export: "work",
        n: 160,
        target: 1.2,
    },
];

/// The variants, by the number of calls in a context. `None` is the original component.
const VARIANTS: [(&str, Option<u32>); 5] = [
    ("off", None),
    ("native stacks", Some(0)),
    ("1 call", Some(1)),
    ("8 calls", Some(8)),
    ("64 calls", Some(64)),
];

/// Depth of the binary tree of calls whose stacks are all new. Each of them has allocations on a
/// few lines.
const TREE_DEPTH: u32 = 10;

/// The time that the host may take for a new context.
const NEW_CONTEXT_TARGET_US: f64 = 10.0;

/// Prints the table.
///
/// # Errors
/// When a program does not run.
pub(crate) fn run(component: impl Fn(&str) -> Result<Vec<u8>>, folder: &Path) -> Result<()> {
    costs(&component, folder)?;
    new_contexts(&component("tree")?, folder)
}

/// What a new context costs: a call in which all call stacks are new takes longer than the same
/// call once more. The best of the rounds count.
fn new_contexts(component: &[u8], folder: &Path) -> Result<()> {
    for (name, frames) in VARIANTS {
        let Some(frames) = frames.filter(|frames| *frames > 1) else {
            continue;
        };
        let options = Options::default().interpreted_frames(frames);
        let prepared = Prepared::new(component, Some(&options), folder)?;
        let (mut first, mut again) = (Duration::MAX, Duration::MAX);
        let mut contexts = 0;
        for _ in 0..ROUNDS {
            let mut session = prepared.start()?;
            let _: u32 = session.call("grow", (1_u32,))?;
            let known = session.totals().contexts;
            first = first.min(timed(&mut session)?);
            contexts = session.totals().contexts - known;
            again = again.min(timed(&mut session)?);
        }
        let more = first.saturating_sub(again).as_secs_f64();
        let each = more * 1e6 / contexts as f64;
        println!(
            "new contexts       {name}: {each:.1} us each, {contexts} of them; at most \
             {NEW_CONTEXT_TARGET_US} us for 8"
        );
    }
    Ok(())
}

/// The time of a call. It is too short for the processor time, which some kernels count in
/// milliseconds.
fn timed(session: &mut Session) -> Result<Duration> {
    let started = Instant::now();
    let _: u32 = session.call("grow", (TREE_DEPTH,))?;
    Ok(started.elapsed())
}

/// What the profiler costs each workload.
fn costs(component: impl Fn(&str) -> Result<Vec<u8>>, folder: &Path) -> Result<()> {
    println!(
        "processor time in ms, best of {ROUNDS} rounds (and the median of the factors to off)"
    );
    for workload in WORKLOADS {
        let bytes = component(workload.program)?;
        let mut sessions = Vec::new();
        let mut instrumenting = Duration::MAX;
        for (name, frames) in VARIANTS {
            let options = frames.map(|frames| Options::default().interpreted_frames(frames));
            let prepared = Prepared::new(&bytes, options.as_ref(), folder)?;
            if options.is_some() {
                instrumenting = instrumenting.min(prepared.instrumenting);
            }
            let mut session = prepared.start()?;
            let _: u32 = session.call(workload.export, (workload.n,))?;
            sessions.push((name, session, Vec::new()));
        }
        for _ in 0..ROUNDS {
            for (_, session, times) in &mut sessions {
                let before = processor_time()?;
                let _: u32 = session.call(workload.export, (workload.n,))?;
                times.push(processor_time()? - before);
            }
        }
        let off = sessions.first().map_or(&[][..], |(_, _, times)| times);
        let cells = sessions.iter().map(|(name, _, times)| {
            let best = times.iter().min().copied().unwrap_or_default();
            let factor = median_factor(times, off);
            format!("{name} {:.1} ({factor:.2})", best.as_secs_f64() * 1e3)
        });
        let cells: Vec<String> = cells.collect();
        println!(
            "{:<18} {}; at most {:.2} for 8; instrumented in {:.0} ms",
            workload.name,
            cells.join(", "),
            workload.target,
            instrumenting.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

/// The median of the factors between times of the same rounds.
fn median_factor(times: &[Duration], off: &[Duration]) -> f64 {
    let pairs = times.iter().zip(off);
    let mut factors: Vec<f64> = pairs.map(|(a, b)| a.div_duration_f64(*b)).collect();
    factors.sort_by(f64::total_cmp);
    factors.get(factors.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_was_slow_for_both_changes_no_factor() {
        let times = [12, 120, 12, 13, 90].map(Duration::from_millis);
        let off = [10, 100, 10, 10, 10].map(Duration::from_millis);
        assert_eq!(median_factor(&times, &off), 1.2);
        assert!(median_factor(&[], &[]).is_nan());
    }
}
