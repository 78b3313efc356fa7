//! What the profiler costs Python programs, by the processor time of the calls.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use guest_heap::Options;

use crate::session::{Prepared, processor_time};

/// Rounds of each measurement. The variants take turns. A factor is the median over the rounds of a
/// variant's time over that of the original component in the same round: others use this machine,
/// too, and slow down neighbours in time alike.
const ROUNDS: usize = 25;

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
        n: 1000,
        target: 1.25,
    },
    Workload {
        name: "integers",
        program: "leaky",
        export: "compute",
        n: 400_000,
        target: 1.45,
    },
    Workload {
        name: "standard library",
        program: "busy",
        export: "work",
        n: 20,
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

/// Prints the table.
///
/// # Errors
/// When a program does not run.
pub(crate) fn run(component: impl Fn(&str) -> Result<Vec<u8>>, folder: &Path) -> Result<()> {
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
