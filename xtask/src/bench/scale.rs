//! A thousand different plugins in one lab: what each costs, and whether the calls that show all of them stay quick.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Measurement;
use super::lab::{self, renamed, resident_mb, stop};
use crate::progress;
use crate::workspace::Workspace;

/// Resident memory that a plugin may cost, in KiB.
const RESIDENT_LIMIT_KIB: f64 = 300.0;
/// `GET /admin/leaks/status`, in milliseconds.
const STATUS_LIMIT_MS: f64 = 10.0;
/// `GET /metrics`, in milliseconds.
const METRICS_LIMIT_MS: f64 = 50.0;
/// The plugin that the others are copies of, each with an id of its own.
const MODEL: &str = "listeners";
/// Compiling a thousand components takes minutes.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3600);
/// Calls of each kind. The median counts.
const CALLS: usize = 21;

/// Arguments of `cargo xtask bench scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many plugins, at most 10,000.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    plugins: u16,
    /// Seconds of doing nothing before memory is read.
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
}

/// Measures on a free port. The plugins that are shipped must be built.
pub(super) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    let scratch = workspace.scratch().join("bench-scale");
    let (none, many) = (scratch.join("none"), scratch.join("many"));
    let cache = scratch.join("cache");
    for folder in [&none, &many] {
        if folder.exists() {
            fs::remove_dir_all(folder).context("cannot empty the scratch folder")?;
        }
        fs::create_dir_all(folder).context("cannot make the scratch folder")?;
    }
    let file = workspace.components().join(format!("{MODEL}.wasm"));
    let model = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for n in 0..args.plugins {
        let id = format!("plug-{n:04}");
        fs::write(
            many.join(format!("{id}.wasm")),
            renamed(&model, MODEL, &id)?,
        )
        .context("cannot write a plugin")?;
    }

    progress::announce("a lab without plugins");
    let (host, _, _) = lab::start(workspace, &none, &cache, &[], GIVE_UP_AFTER)?;
    sleep(Duration::from_secs(args.idle_seconds));
    let empty = resident_mb(host.pid())?;
    stop(host)?;

    progress::announce(format_args!(
        "a lab with {} plugins, compiled as far as they are not kept from the last time",
        args.plugins
    ));
    let first = sample(workspace, &many, &cache, args)?;
    progress::announce("the same again");
    let again = sample(workspace, &many, &cache, args)?;

    let number = |what, value, unit, limit| Measurement {
        what,
        value,
        unit,
        limit,
    };
    let each = |sample: &Sample| (sample.resident_mb - empty) * 1024.0 / f64::from(args.plugins);
    Ok(vec![
        number("plugins", f64::from(args.plugins), "", None),
        number("start to healthy", first.start_ms, "ms", None),
        number("start to healthy, again", again.start_ms, "ms", None),
        number("resident memory without plugins", empty, "MB", None),
        number("resident memory with all", again.resident_mb, "MB", None),
        number(
            "resident memory per plugin",
            each(&first),
            "KiB",
            Some(RESIDENT_LIMIT_KIB),
        ),
        number(
            "resident memory per plugin, again",
            each(&again),
            "KiB",
            Some(RESIDENT_LIMIT_KIB),
        ),
        number(
            "GET /admin/leaks/status, median",
            again.status_ms,
            "ms",
            Some(STATUS_LIMIT_MS),
        ),
        number(
            "GET /metrics, median",
            again.metrics_ms,
            "ms",
            Some(METRICS_LIMIT_MS),
        ),
        number("open files", again.files, "", None),
        number("mappings", again.mappings, "", None),
    ])
}

struct Sample {
    start_ms: f64,
    resident_mb: f64,
    status_ms: f64,
    metrics_ms: f64,
    files: f64,
    mappings: f64,
}

fn sample(workspace: &Workspace, folder: &Path, cache: &Path, args: &Args) -> Result<Sample> {
    let (host, took, base) = lab::start(workspace, folder, cache, &[], GIVE_UP_AFTER)?;
    sleep(Duration::from_secs(args.idle_seconds));
    let resident_mb = resident_mb(host.pid())?;
    let status = ureq::get(format!("{base}/admin/leaks/status"))
        .call()
        .context("no status")?
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_json::<serde_json::Value>()
        .context("the status is not JSON")?;
    let loaded = status
        .pointer("/leaks")
        .and_then(|leaks| Some(leaks.as_object()?.len()))
        .unwrap_or(0);
    if loaded != usize::from(args.plugins) {
        bail!("{loaded} of {} plugins are loaded", args.plugins);
    }
    let status_ms = median_ms(&format!("{base}/admin/leaks/status"))?;
    let metrics_ms = median_ms(&format!("{base}/metrics"))?;
    let held = lab::held(&base, host.pid())?;
    stop(host)?;
    Ok(Sample {
        start_ms: took.as_secs_f64() * 1e3,
        resident_mb,
        status_ms,
        metrics_ms,
        files: held.files as f64,
        mappings: held.mappings as f64,
    })
}

/// From the request to the last byte of the answer.
fn median_ms(url: &str) -> Result<f64> {
    let agent = ureq::Agent::new_with_defaults();
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let started = Instant::now();
        let mut answer = agent
            .get(url)
            .call()
            .with_context(|| format!("no answer from {url}"))?;
        answer
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_vec()
            .with_context(|| format!("no whole answer from {url}"))?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).context("nothing was measured")?;
    Ok(median.as_secs_f64() * 1e3)
}
