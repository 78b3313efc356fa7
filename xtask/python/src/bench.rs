//! What the profiler costs Python programs, by the processor time of the calls.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use guest_heap::Options;

use crate::session::Prepared;

/// Rounds of each measurement. The variants take turns, and the fastest round counts: others use
/// this machine, too.
const ROUNDS: usize = 9;

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
    println!("processor time in ms (and the factor to off), best of {ROUNDS}");
    for workload in WORKLOADS {
        let bytes = component(workload.program)?;
        let mut sessions = Vec::new();
        for (name, frames) in VARIANTS {
            let options = frames.map(|frames| Options::default().interpreted_frames(frames));
            let prepared = Prepared::new(&bytes, options.as_ref(), folder)?;
            let mut session = prepared.start()?;
            let _: u32 = session.call(workload.export, (workload.n,))?;
            sessions.push((name, session, Duration::MAX, prepared.instrumenting));
        }
        for _ in 0..ROUNDS {
            for (_, session, best, _) in &mut sessions {
                let before = processor_time()?;
                let _: u32 = session.call(workload.export, (workload.n,))?;
                *best = (*best).min(processor_time()? - before);
            }
        }
        let off = sessions.first().map_or(Duration::ZERO, |it| it.2);
        let cells = sessions.iter().map(|(name, _, best, _)| {
            let factor = best.as_secs_f64() / off.as_secs_f64();
            format!("{name} {:.1} ({factor:.2})", best.as_secs_f64() * 1e3)
        });
        let cells: Vec<String> = cells.collect();
        let fastest = sessions.iter().skip(3).map(|it| it.3).min();
        println!(
            "{:<18} {}; at most {:.2} for 8; instrumented in {:.0} ms",
            workload.name,
            cells.join(", "),
            workload.target,
            fastest.unwrap_or_default().as_secs_f64() * 1e3
        );
    }
    Ok(())
}

/// The processor time of this thread.
fn processor_time() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().context("no processor time")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
