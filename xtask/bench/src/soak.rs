//! `cargo xtask soak`: a host whose leaks are off, or fixed, must not leak itself, and
//! administration under load must leave it as it was.
//!
//! The load is `wrk` over most GETs of the API. Memory, threads and files are read from `/proc`,
//! not from the host. Only the host can count its tasks.

use std::fs;
use std::path::PathBuf;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use xtask_support::components::EXERCISES;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use self::load::BackgroundLoad;
use crate::measured_host::{self, MeasuredHost, Resources};
use crate::wrk;

mod changes;
mod load;

const ENDPOINTS: &str = include_str!("soak/endpoints.lua");

/// Difference of resident memory between the end of the warm-up and the end, in MiB.
const MAX_DIFFERENCE_MB: f64 = 2.0;

/// After the load the host closes connections and frees what they used. Its runtime keeps threads
/// for blocking work for ten seconds.
const SETTLE_TIME: Duration = Duration::from_secs(15);

/// Readings after the first, a second apart.
const READINGS: u32 = 10;

/// The share of the time in which memory has to stay flat. The rest is for random changes.
const FLAT_SHARE: f64 = 2.0 / 3.0;

/// Requests with leaks off that must leave no memory behind.
const MIN_REQUESTS: u64 = 10_000_000;

/// The host's samples and histories grow for this long and then stay as large.
const HISTORY_TIME: Duration = Duration::from_secs(15 * 60);

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Minutes that all parts take together. Memory has to stay flat in two thirds of them; the
    /// host needs the first 15 minutes to fill its histories.
    #[arg(long, default_value_t = 60.0, value_parser = minutes)]
    minutes: f64,
    /// The same seed makes the same random changes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.5..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("takes 0.5 to 10000 minutes".to_owned()),
    }
}

/// False when the host grows or loses a request.
///
/// # Errors
/// When `wrk` is missing, or the host fails.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let folder = workspace.scratch().join("soak");
    fs::create_dir_all(&folder)?;
    let load = LoadSource {
        wrk: wrk::find()?,
        script: folder.join("endpoints.lua"),
    };
    fs::write(&load.script, ENDPOINTS)?;
    let total = Duration::from_secs_f64(args.minutes * 60.0);
    let cases = [
        FlatCase {
            name: "leaks off",
            settings: None,
            min_requests: MIN_REQUESTS,
        },
        FlatCase {
            name: "fixed variants on",
            settings: Some(json!({ "enabled": true, "variant": "fixed" })),
            min_requests: 0,
        },
    ];
    report::announce(format_args!(
        "leaks off, and fixed variants on, at the same time: {:.1} minutes",
        args.minutes * FLAT_SHARE
    ));
    // At the same time, because both need most of it to fill their histories.
    let mut passed = thread::scope(|scope| -> Result<bool> {
        let mut running = Vec::new();
        for case in &cases {
            let host = start(workspace)?;
            let load = &load;
            running.push(scope.spawn(move || case.run(host, load, total.mul_f64(FLAT_SHARE))));
        }
        let mut passed = true;
        for case in running {
            passed &= case.join().map_err(|_| anyhow!("a case panicked"))??;
        }
        Ok(passed)
    })?;
    let time = total.mul_f64(1.0 - FLAT_SHARE);
    passed &= changes::run(start(workspace)?, &load, time, args.seed)?;
    println!("\n{}", if passed { "passed" } else { "FAILED" });
    Ok(passed)
}

fn start(workspace: &Workspace) -> Result<MeasuredHost> {
    let mut command = measured_host::command(workspace, &workspace.components());
    MeasuredHost::start(&mut command, START_TIMEOUT)
}

/// The load generator and its script.
#[derive(Debug)]
struct LoadSource {
    wrk: PathBuf,
    script: PathBuf,
}

impl LoadSource {
    fn start(&self, base: &str, time: Duration) -> Result<BackgroundLoad> {
        BackgroundLoad::start(&self.wrk, &self.script, base, time)
    }
}

/// A host that has to stay as large as it is under load.
struct FlatCase {
    name: &'static str,
    /// The settings of each leak.
    settings: Option<Value>,
    /// Fewer requests show nothing.
    min_requests: u64,
}

impl FlatCase {
    /// Compares memory, threads, files and tasks after a warm-up and after the load.
    fn run(&self, host: MeasuredHost, load: &LoadSource, time: Duration) -> Result<bool> {
        if let Some(settings) = &self.settings {
            for leak in EXERCISES {
                host.set_leak(leak, settings)?;
            }
        }
        let shortest = Duration::from_secs(5);
        let warm_up = HISTORY_TIME.min(time.mul_f64(0.6)).max(shortest);
        let warm_up_requests = load.start(&host.base, warm_up)?.finish()?;
        sleep(SETTLE_TIME);
        let (before_mb, before) = footprint(&host)?;
        let rest = time.saturating_sub(warm_up);
        let requests = warm_up_requests + load.start(&host.base, rest)?.finish()?;
        sleep(SETTLE_TIME);
        let (after_mb, after) = footprint(&host)?;
        host.stop()?;

        let growth_mb = after_mb - before_mb;
        let flat = growth_mb.abs() <= MAX_DIFFERENCE_MB
            && after.threads <= before.threads
            && after.files <= before.files
            && after.tasks <= before.tasks;
        println!(
            "{}: {requests} requests ({warm_up_requests} of them to warm up); \
             resident {before_mb:.1} MiB, then {growth_mb:+.2} MiB; threads {} and {}; \
             files {} and {}; tasks {} and {}: {}{}",
            self.name,
            before.threads,
            after.threads,
            before.files,
            after.files,
            before.tasks,
            after.tasks,
            if flat { "ok" } else { "GREW" },
            self.remarks(warm_up, requests)
        );
        Ok(flat)
    }

    /// Reasons why the result is weak.
    fn remarks(&self, warm_up: Duration, requests: u64) -> String {
        let mut remarks = String::new();
        if warm_up < HISTORY_TIME {
            remarks += &format!(
                "; some growth is expected: the host's histories grow for {} minutes, \
                 and the warm-up took {:.1}",
                HISTORY_TIME.as_secs() / 60,
                warm_up.as_secs_f64() / 60.0
            );
        }
        if requests < self.min_requests {
            remarks += &format!("; fewer than {} requests show little", self.min_requests);
        }
        remarks
    }
}

/// Resident memory in MiB, and the other resources: the least of some readings, because a thread
/// for blocking work appears when one is needed and stays for a while.
fn footprint(host: &MeasuredHost) -> Result<(f64, Resources)> {
    let (mut least_mb, mut least) = (host.resident_mb()?, host.resources()?);
    for _ in 0..READINGS {
        sleep(Duration::from_secs(1));
        least_mb = least_mb.min(host.resident_mb()?);
        least = least.min(host.resources().context("a reading failed")?);
    }
    Ok((least_mb, least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_have_a_range() {
        assert_eq!(minutes("1.5"), Ok(1.5));
        for wrong in ["0", "-1", "soon", "1e9"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_load_requests_every_endpoint_that_changes_nothing() {
        for path in [
            "/api/data",
            "/admin/memory/snapshot",
            "/debug/pprof/heap",
            "/metrics",
        ] {
            assert!(ENDPOINTS.contains(&format!("\"{path}")), "{path}");
        }
    }

    #[test]
    fn a_short_run_says_why_it_shows_little() {
        let case = FlatCase {
            name: "leaks off",
            settings: None,
            min_requests: 10,
        };
        assert_eq!(case.remarks(HISTORY_TIME, 10), "");
        let remarks = case.remarks(Duration::from_secs(60), 9);
        assert!(remarks.contains("the warm-up took 1.0"), "{remarks}");
        assert!(remarks.contains("fewer than 10 requests"), "{remarks}");
    }
}
