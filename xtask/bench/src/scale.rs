//! A thousand different plugins in one lab: what each costs, and whether the calls that list all of
//! them stay fast.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::http::Client;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use crate::measured_host::{self, MeasuredHost, Resources, empty_folder, renamed};
use crate::measurement::{Measurement, median};

/// Resident memory of a plugin, in KiB.
const MAX_RESIDENT_KIB: f64 = 300.0;
/// `GET /admin/leaks/status`, in milliseconds.
const MAX_STATUS_MS: f64 = 10.0;
/// `GET /metrics`, in milliseconds.
const MAX_METRICS_MS: f64 = 50.0;
/// The plugin that all others are copies of, each with its own id.
const MODEL: &str = "listeners";
/// Compiling a thousand components takes minutes.
const START_TIMEOUT: Duration = Duration::from_secs(3600);
/// Calls of each kind. The median counts.
const CALLS: usize = 21;

/// Arguments of `cargo xtask bench scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many plugins, at most 10,000.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    plugins: u16,
    /// Idle seconds before memory is read.
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
}

/// Measures on a free port with the shipped plugins.
pub(crate) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    let scratch = workspace.scratch().join("bench-scale");
    let (none, many) = (scratch.join("none"), scratch.join("many"));
    let cache = scratch.join("cache");
    empty_folder(&none)?;
    empty_folder(&many)?;
    let file = workspace.components().join(format!("{MODEL}.wasm"));
    let model = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for n in 0..args.plugins {
        let id = format!("plug-{n:04}");
        let component = renamed(&model, MODEL, &id)?;
        fs::write(many.join(format!("{id}.wasm")), component).context("cannot write a plugin")?;
    }

    report::announce("a lab without plugins");
    let host = start(workspace, &none, &cache)?;
    sleep(Duration::from_secs(args.idle_seconds));
    let empty_mb = host.resident_mb()?;
    host.stop()?;

    report::announce(format_args!(
        "a lab with {} plugins; those that are not in the cache are compiled",
        args.plugins
    ));
    let first = sample(workspace, &many, &cache, args)?;
    report::announce("the same again");
    let again = sample(workspace, &many, &cache, args)?;

    let (shown, limited) = (Measurement::shown, Measurement::limited);
    let each_kib = |s: &Sample| (s.resident_mb - empty_mb) * 1024.0 / f64::from(args.plugins);
    Ok(vec![
        shown("plugins", f64::from(args.plugins), ""),
        shown("start to healthy", first.start_ms, "ms"),
        shown("start to healthy, again", again.start_ms, "ms"),
        shown("resident memory without plugins", empty_mb, "MB"),
        shown("resident memory with all", again.resident_mb, "MB"),
        limited(
            "resident memory per plugin",
            each_kib(&first),
            "KiB",
            MAX_RESIDENT_KIB,
        ),
        limited(
            "resident memory per plugin, again",
            each_kib(&again),
            "KiB",
            MAX_RESIDENT_KIB,
        ),
        limited(
            "GET /admin/leaks/status, median",
            again.status_ms,
            "ms",
            MAX_STATUS_MS,
        ),
        limited(
            "GET /metrics, median",
            again.metrics_ms,
            "ms",
            MAX_METRICS_MS,
        ),
        shown("open files", again.resources.files as f64, ""),
        shown("mappings", again.resources.mappings as f64, ""),
    ])
}

struct Sample {
    start_ms: f64,
    resident_mb: f64,
    status_ms: f64,
    metrics_ms: f64,
    resources: Resources,
}

fn start(workspace: &Workspace, folder: &Path, cache: &Path) -> Result<MeasuredHost> {
    let mut command = measured_host::command(workspace, folder);
    command.arg("--cache").arg(cache);
    MeasuredHost::start(&mut command, START_TIMEOUT)
}

fn sample(workspace: &Workspace, folder: &Path, cache: &Path, args: &Args) -> Result<Sample> {
    let host = start(workspace, folder, cache)?;
    sleep(Duration::from_secs(args.idle_seconds));
    let resident_mb = host.resident_mb()?;
    let status = host.get("/admin/leaks/status?all=true")?;
    let leaks = status.pointer("/leaks").and_then(Value::as_object);
    let loaded = leaks.map_or(0, serde_json::Map::len);
    ensure!(
        loaded == usize::from(args.plugins),
        "{loaded} of {} plugins are loaded",
        args.plugins
    );
    let sample = Sample {
        start_ms: host.start_time.as_secs_f64() * 1e3,
        resident_mb,
        status_ms: median_ms(&host.url("/admin/leaks/status"))?,
        metrics_ms: median_ms(&host.url("/metrics"))?,
        resources: host.resources()?,
    };
    host.stop()?;
    Ok(sample)
}

/// From the request to the last byte of the response.
fn median_ms(url: &str) -> Result<f64> {
    let client = Client::default();
    let mut times_ms = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let started = Instant::now();
        client.text(url)?;
        times_ms.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times_ms.into_iter()))
}
