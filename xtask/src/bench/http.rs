//! What the lab costs a request: `/api/data` of the host, with and without leaks, against a plain axum
//! service that gives the same answer.
//!
//! The services run side by side and take turns, so that whatever else the machine does falls on all of
//! them; the figures are the medians of the turns. The load generator is `wrk`, on the same machine: a
//! ratio says how much of the machine is left for it, too, so it flatters nobody.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::json;

use crate::host_process::{HostProcess, is_healthy};
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
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Seconds of load in one turn.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections held open by the load generator.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
}

/// One turn of one service.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Turn {
    requests_per_second: f64,
    p99_ms: f64,
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
    let wrk = find_wrk()?;
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
    let medians = contenders.each_ref().map(Contender::median);
    println!(
        "\n{} turns of {} s each, {} connections, {PAYLOAD_BYTES} bytes asked of each leak\n",
        args.turns, args.seconds, args.connections
    );
    println!("{:<34} {:>12} {:>10}", "", "requests/s", "p99 ms");
    for (contender, median) in contenders.iter().zip(&medians) {
        println!(
            "{:<34} {:>12.0} {:>10.2}",
            contender.name, median.requests_per_second, median.p99_ms
        );
    }
    for contender in contenders {
        contender.process.signal(Signal::KILL);
        contender.process.wait()?;
    }
    Ok(verdict(&medians))
}

/// Prints each ratio beside its goal; false when one misses it.
fn verdict([plain, off, exact, unattributed]: &[Turn; 4]) -> bool {
    let throughput =
        |ours: &Turn, theirs: &Turn| ours.requests_per_second / theirs.requests_per_second;
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
    let p99 = exact.p99_ms / plain.p99_ms;
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
        let started = Instant::now();
        let mut address = None;
        let base = loop {
            address = address.or_else(|| process.address());
            if let Some(base) = address.as_ref().filter(|base| is_healthy(base)) {
                break base.clone();
            }
            if let Some(status) = process.exited()? {
                bail!("{name} ended before it answered: {status}");
            }
            ensure!(
                started.elapsed() < START_WITHIN,
                "{name} does not answer after {} s",
                START_WITHIN.as_secs()
            );
            sleep(Duration::from_millis(5));
        };
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
        let turn = read_report(&report).with_context(|| format!("{}: {report}", self.name))?;
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

    fn median(&self) -> Turn {
        Turn {
            requests_per_second: median(self.turns.iter().map(|turn| turn.requests_per_second)),
            p99_ms: median(self.turns.iter().map(|turn| turn.p99_ms)),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What `wrk --latency` prints, as far as it is needed.
fn read_report(report: &str) -> Result<Turn> {
    ensure!(
        !report.contains("Non-2xx") && !report.contains("Socket errors"),
        "not every answer was a success"
    );
    let value = |name: &str| {
        let line = report
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let word = line.and_then(|line| line.split_whitespace().last());
        word.with_context(|| format!("wrk prints no {name}"))
    };
    let requests_per_second = value("Requests/sec:")?
        .parse()
        .context("requests a second are no number")?;
    Ok(Turn {
        requests_per_second,
        p99_ms: milliseconds(value("99%")?)?,
    })
}

/// `950.00us`, `1.23ms` or `2.00s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit)
            && let Ok(number) = number.parse::<f64>()
        {
            return Ok(number * factor);
        }
    }
    bail!("wrk's {text:?} is no time")
}

fn find_wrk() -> Result<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .map(|folder| folder.join("wrk"))
        .find(|program| program.is_file())
        .context("this needs the load generator wrk: apt-get install wrk, or your system's package of it")
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

    const REPORT: &str = "\
Running 4s test @ http://127.0.0.1:8080/api/data
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   780.40us  310.11us   9.21ms   90.03%
    Req/Sec    41.20k     2.10k   45.00k    75.00%
  Latency Distribution
     50%  740.00us
     99%    1.83ms
  164000 requests in 4.00s, 60.00MB read
Requests/sec:  41000.50
Transfer/sec:     15.00MB
";

    #[test]
    fn a_report_is_read() {
        let turn = read_report(REPORT).unwrap();
        assert_eq!(turn.requests_per_second, 41000.5);
        assert_eq!(turn.p99_ms, 1.83);
    }

    #[test]
    fn a_report_of_failures_is_refused() {
        let report = format!("{REPORT}  Non-2xx or 3xx responses: 12\n");
        assert!(read_report(&report).is_err());
        assert!(read_report("nothing of the kind").is_err());
    }

    #[test]
    fn times_are_read_in_every_unit() {
        for (text, expected) in [("950.00us", 0.95), ("1.50ms", 1.5), ("2.00s", 2000.0)] {
            assert_eq!(milliseconds(text).unwrap(), expected);
        }
        assert!(milliseconds("soon").is_err());
    }

    #[test]
    fn a_missed_goal_is_said() {
        let turn = |requests_per_second, p99_ms| Turn {
            requests_per_second,
            p99_ms,
        };
        let plain = turn(1000.0, 1.0);
        assert!(verdict(&[
            plain,
            turn(960.0, 1.0),
            turn(500.0, 2.0),
            turn(550.0, 2.0)
        ]));
        assert!(!verdict(&[
            plain,
            turn(900.0, 1.0),
            turn(500.0, 2.0),
            turn(550.0, 2.0)
        ]));
        assert!(!verdict(&[
            plain,
            turn(960.0, 1.0),
            turn(500.0, 3.1),
            turn(550.0, 2.0)
        ]));
    }
}
