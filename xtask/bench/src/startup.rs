//! How long a learner waits for the lab, and how much memory it uses when idle.
//!
//! The first start compiles the plugins, every later one finds them in the cache; the limit is for
//! the later ones. Memory is read from `/proc` as well as from the lab itself, which could misread
//! its own footprint.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use xtask_support::components::EXERCISES;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use crate::measured_host::{self, MeasuredHost, empty_folder};
use crate::measurement::{Measurement, median};

/// From the start of the process to the first 200 of `/health/ready`, in milliseconds.
const MAX_START_MS: f64 = 150.0;
/// Resident memory of the idle host with the plugins of the exercises, in MiB. More plugins use
/// more.
const MAX_IDLE_MB: f64 = 25.0;
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `cargo xtask bench startup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Starts that are measured, after one that fills the cache. The median counts.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Idle seconds before memory is read.
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
}

/// Measures on a free port with the shipped plugins.
pub(crate) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    // A new cache, so that the first start compiles.
    let cache = workspace.scratch().join("bench-startup");
    empty_folder(&cache)?;
    let all = workspace.components();
    report::announce("first start");
    let first_ms = start_ms(workspace, &all, &cache)?;
    report::announce(format_args!(
        "{} more starts, with the compiled plugins cached",
        args.starts
    ));
    let mut times_ms = Vec::new();
    for _ in 0..args.starts {
        times_ms.push(start_ms(workspace, &all, &cache)?);
    }
    let idle = Duration::from_secs(args.idle_seconds);
    report::announce(format_args!("idle for {} s, twice", args.idle_seconds));
    let with_all = idle_memory(workspace, &all, &cache, idle)?;
    let exercises = only_exercises(workspace)?;
    let with_exercises = idle_memory(workspace, &exercises, &cache, idle)?;

    let (shown, limited) = (Measurement::shown, Measurement::limited);
    let fastest_ms = times_ms.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(vec![
        shown("start to healthy, first start", first_ms, "ms"),
        shown(
            "start to healthy, plugins cached, fastest",
            fastest_ms,
            "ms",
        ),
        limited(
            "start to healthy, plugins cached, median",
            median(times_ms.into_iter()),
            "ms",
            MAX_START_MS,
        ),
        shown(
            "idle resident memory, all plugins (/admin/memory)",
            with_all.reported_mb,
            "MB",
        ),
        shown(
            "idle resident memory, all plugins (/proc)",
            with_all.from_proc_mb,
            "MB",
        ),
        limited(
            "idle resident memory, the exercises' three (/proc)",
            with_exercises.from_proc_mb,
            "MB",
            MAX_IDLE_MB,
        ),
    ])
}

/// Resident memory in MiB, from both sources.
struct Resident {
    reported_mb: f64,
    from_proc_mb: f64,
}

fn start(workspace: &Workspace, plugins: &Path, cache: &Path) -> Result<MeasuredHost> {
    let mut command = measured_host::command(workspace, plugins);
    command.arg("--cache").arg(cache);
    MeasuredHost::start(&mut command, START_TIMEOUT)
}

fn start_ms(workspace: &Workspace, plugins: &Path, cache: &Path) -> Result<f64> {
    let host = start(workspace, plugins, cache)?;
    let time = host.start_time;
    host.stop()?;
    Ok(time.as_secs_f64() * 1e3)
}

fn idle_memory(
    workspace: &Workspace,
    plugins: &Path,
    cache: &Path,
    idle: Duration,
) -> Result<Resident> {
    let host = start(workspace, plugins, cache)?;
    sleep(idle);
    let from_proc_mb = host.resident_mb()?;
    let memory = host.get("/admin/memory")?;
    let reported_mb = memory
        .pointer("/process/rss_mb")
        .and_then(Value::as_f64)
        .context("/admin/memory has no process.rss_mb")?;
    host.stop()?;
    Ok(Resident {
        reported_mb,
        from_proc_mb,
    })
}

/// A folder with the plugins of the exercises and no others.
fn only_exercises(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.scratch().join("bench-startup-exercises");
    empty_folder(&folder)?;
    for name in EXERCISES {
        let file = format!("{name}.wasm");
        fs::copy(workspace.components().join(&file), folder.join(&file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(folder)
}
