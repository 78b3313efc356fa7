//! What the lab costs a request: `/api/data` of the host, with and without leaks, against a plain axum
//! service that gives the same answer.
//!
//! The services run side by side and take turns, so that whatever else the machine does falls on all of
//! them. A ratio is taken within each turn, since a shared machine is faster in one minute than in the next; what is
//! printed are the medians over the turns. The load generator is `wrk`, on the same machine: a ratio says how much of
//! the machine is left for it, too, so it flatters nobody.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::wrk::{self, Turn};
use crate::host_process::HostProcess;
use crate::http;
use crate::progress;
use crate::workspace::Workspace;

/// The lab's own three.
const LEAKS: [&str; 3] = ["cache", "history", "listeners"];

/// What one request retains in each leak, in bytes, so that a turn fits into memory: at 20,000 requests a
/// second three leaks then retain some 50 MB a second, most of it history's record. A reset ends each turn.
const PAYLOAD_BYTES: u32 = 64;

/// A service that does not answer within this has failed.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Throughput with leaks off, as a share of plain axum.
const OFF_GOAL: f64 = 0.95;
/// With three leaks on and exact attribution.
const LEAKS_GOAL: f64 = 0.5;
/// The same, as a share of three leaks without attribution.
const EXACT_GOAL: f64 = 0.9;
/// The 99th percentile of three leaks, as a multiple of plain axum's.
const P99_GOAL: f64 = 3.0;

/// Arguments of `cargo xtask bench http`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Turns of each service. The median counts.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Seconds of load in one turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections held open by the load generator. With few of them it falls asleep between two answers of the slower
    /// service, which then pays for waking it, on the same cores, with each answer.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
}

/// A service under measurement.
struct Contender {
    name: &'static str,
    process: HostProcess,
    base: String,
    leaks: bool,
    turns: Vec<Turn>,
}

/// Runs the comparison and prints it. False when a goal is missed.
///
/// # Errors
/// When `wrk` is not there, something does not build, or a service fails under load.
pub(super) fn compare(workspace: &Workspace, args: &Args) -> Result<bool> {
    let wrk = wrk::find()?;
    let plain = build_plain(workspace)?;
    let components = workspace.components();
    let host = |attribution: &str| -> Result<HostProcess> {
        HostProcess::start(
            workspace,
            [
                "--listen".as_ref(),
                "127.0.0.1:0".as_ref(),
                "--heap-profile".as_ref(),
                attribution.as_ref(),
                "--plugins".as_ref(),
                components.as_os_str(),
            ],
            false,
        )
    };
    let mut contenders = [
        Contender::start("plain axum", HostProcess::start_program(&plain)?, false)?,
        Contender::start("leaks off", host("exact")?, false)?,
        Contender::start("three leaks, exact attribution", host("exact")?, true)?,
        Contender::start("three leaks, no attribution", host("off")?, true)?,
    ];
    for turn in 1..=args.turns {
        progress::announce(format_args!("turn {turn} of {}", args.turns));
        for contender in &mut contenders {
            contender.play(&wrk, args)?;
        }
    }
    println!(
        "\n{} turns of {} s each, {} connections, {PAYLOAD_BYTES} bytes asked of each leak\n",
        args.turns, args.seconds, args.connections
    );
    println!("{:<34} {:>12} {:>10}", "", "requests/s", "p99 ms");
    for contender in &contenders {
        println!(
            "{:<34} {:>12.0} {:>10.2}",
            contender.name,
            median(contender.turns.iter().map(|turn| turn.requests_per_second)),
            median(contender.turns.iter().map(|turn| turn.p99_ms)),
        );
    }
    let kept = verdict(contenders.each_ref().map(|c| c.turns.as_slice()));
    for contender in contenders {
        contender.process.signal(Signal::KILL);
        contender.process.wait()?;
    }
    Ok(kept)
}

/// Prints each ratio beside its goal; false when one misses it.
fn verdict([plain, off, exact, unattributed]: [&[Turn]; 4]) -> bool {
    let ratio = |of: fn(&Turn) -> f64, ours: &[Turn], theirs: &[Turn]| {
        let turns = ours.iter().zip(theirs);
        median(turns.map(|(ours, theirs)| of(ours) / of(theirs)))
    };
    let throughput = |ours, theirs| ratio(|turn| turn.requests_per_second, ours, theirs);
    let lines = [
        ("leaks off / plain axum", throughput(off, plain), OFF_GOAL),
        (
            "three leaks / plain axum",
            throughput(exact, plain),
            LEAKS_GOAL,
        ),
        (
            "exact / no attribution",
            throughput(exact, unattributed),
            EXACT_GOAL,
        ),
    ];
    println!();
    let mut kept = true;
    for (what, ratio, goal) in lines {
        let met = ratio >= goal;
        kept &= met;
        println!(
            "{what:<34} {ratio:>12.2}  (goal at least {goal}: {})",
            if met { "ok" } else { "MISSED" }
        );
    }
    let p99 = ratio(|turn| turn.p99_ms, exact, plain);
    let met = p99 <= P99_GOAL;
    println!(
        "{:<34} {p99:>12.2}  (goal at most {P99_GOAL}: {})",
        "p99, three leaks / plain axum",
        if met { "ok" } else { "MISSED" }
    );
    kept && met
}

impl Contender {
    fn start(name: &'static str, mut process: HostProcess, leaks: bool) -> Result<Self> {
        let base = process
            .healthy_within(START_WITHIN)
            .with_context(|| name.to_owned())?;
        if leaks {
            for leak in LEAKS {
                http::post(
                    &format!("{base}/admin/leaks/{leak}"),
                    &json!({ "enabled": true, "payload_bytes": PAYLOAD_BYTES }),
                )?;
            }
        }
        Ok(Self {
            name,
            process,
            base,
            leaks,
            turns: Vec::new(),
        })
    }

    /// One turn under load, with fresh plugins.
    fn play(&mut self, wrk: &PathBuf, args: &Args) -> Result<()> {
        if self.leaks {
            for leak in LEAKS {
                http::post(
                    &format!("{}/admin/leaks/{leak}/reset", self.base),
                    &json!({}),
                )?;
            }
        }
        let output = Command::new(wrk)
            .args(["--threads", "1", "--latency"])
            .args(["--connections", &args.connections.to_string()])
            .args(["--duration", &format!("{}s", args.seconds)])
            .arg(format!("{}/api/data", self.base))
            .output()
            .context("cannot start wrk")?;
        let report = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}: wrk: {report}", self.name);
        let turn = wrk::read_report(&report).with_context(|| format!("{}: {report}", self.name))?;
        if self.leaks {
            let answer = http::json(&format!("{}/api/data", self.base))?;
            let failed = answer.get("leaks_failed").and_then(|f| f.as_array());
            ensure!(
                failed.is_some_and(Vec::is_empty),
                "{}: a leak failed under load: {answer}",
                self.name
            );
        }
        self.turns.push(turn);
        Ok(())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn build_plain(workspace: &Workspace) -> Result<PathBuf> {
    progress::must_succeed(
        "building the plain axum service",
        workspace.cargo().args([
            "build",
            "--release",
            "--workspace",
            "--example",
            "plain_axum",
        ]),
    )?;
    Ok(workspace.target().join("release/examples/plain_axum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_said() {
        let turn = |requests_per_second, p99_ms| Turn {
            requests: 1,
            requests_per_second,
            p99_ms,
        };
        let kept = |off, exact, unattributed| {
            // The machine is half as fast in the second turn: the ratios are the same.
            let turns = |t: Turn| [t, turn(t.requests_per_second / 2.0, t.p99_ms * 2.0), t];
            verdict(
                [turn(1000.0, 1.0), off, exact, unattributed]
                    .map(turns)
                    .each_ref()
                    .map(|t| t.as_slice()),
            )
        };
        let none = turn(550.0, 2.0);
        assert!(kept(turn(960.0, 1.0), turn(500.0, 2.0), none));
        assert!(!kept(turn(900.0, 1.0), turn(500.0, 2.0), none));
        assert!(!kept(turn(960.0, 1.0), turn(500.0, 3.1), none));
    }
}
