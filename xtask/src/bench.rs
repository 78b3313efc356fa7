//! `cargo xtask bench`: measurements of the running lab and of the heap profiler, each printed beside its limit. A number
//! over its limit is exit code 1.

use std::process::ExitCode;

use anyhow::Result;

use crate::host_process;
use crate::plugins::{self, Members};
use crate::toolchain;
use crate::workspace::Workspace;

mod console;
mod heap;
mod http;
pub(crate) mod lab;
mod reload;
mod scale;
mod startup;
pub(crate) mod wrk;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, clap::Subcommand)]
enum Bench {
    /// From start to healthy with compiled plugins cached, and the memory of an idle lab.
    Startup(startup::Args),
    /// Requests a second and latency, against a plain axum service. Needs `wrk`.
    Http(http::Args),
    /// What open pages of the console cost the host.
    Console(console::Args),
    /// What guests pay for the books of their heap: time by kind of work, and bytes for each live block.
    Heap,
    /// A thousand different plugins at once: memory of each, and the calls that show all.
    Scale(scale::Args),
    /// A thousand loads and unloads under load: nothing fails, and nothing is left.
    Reload(reload::Args),
}

/// Entry of the subcommand.
///
/// # Errors
/// When something does not build, or the lab does not run long enough to be measured.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    if !matches!(args.bench, Bench::Heap) {
        plugins::build(workspace, Members::Shipped)?;
        host_process::build(workspace)?;
    }
    let within = match &args.bench {
        Bench::Heap => return heap::run(workspace),
        Bench::Startup(args) => show(&startup::measure(workspace, args)?),
        Bench::Console(args) => show(&console::measure(workspace, args)?),
        Bench::Http(args) => http::compare(workspace, args)?,
        Bench::Scale(args) => show(&scale::measure(workspace, args)?),
        Bench::Reload(args) => show(&reload::measure(workspace, args)?),
    };
    Ok(if within {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints each number beside its limit; false when one is over it.
fn show(measurements: &[Measurement]) -> bool {
    println!();
    for measurement in measurements {
        println!("{}", measurement.line());
    }
    measurements.iter().all(Measurement::is_within)
}

/// A number, its unit, and what it must not exceed.
#[derive(Debug)]
struct Measurement {
    what: &'static str,
    value: f64,
    unit: &'static str,
    /// None for a number that is shown for comparison only.
    limit: Option<f64>,
}

impl Measurement {
    fn is_within(&self) -> bool {
        self.limit.is_none_or(|limit| self.value <= limit)
    }

    fn line(&self) -> String {
        let Self {
            what,
            value,
            unit,
            limit,
        } = self;
        let verdict = match limit {
            None => String::new(),
            Some(limit) if self.is_within() => format!("  (limit {limit} {unit}: ok)"),
            Some(limit) => format!("  (limit {limit} {unit}: EXCEEDED)"),
        };
        format!("{what:<52} {value:>8.1} {unit}{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_over_its_limit_says_so() {
        let mut measurement = Measurement {
            what: "start",
            value: 150.0,
            unit: "ms",
            limit: Some(150.0),
        };
        assert!(measurement.is_within());
        measurement.value = 150.1;
        assert!(!measurement.is_within());
        assert!(
            measurement.line().ends_with("EXCEEDED)"),
            "{}",
            measurement.line()
        );
        measurement.limit = None;
        assert!(measurement.is_within());
    }
}
