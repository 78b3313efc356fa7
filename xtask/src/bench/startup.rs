//! How long a learner waits for the lab, and what it costs when nothing happens.
//!
//! The first start compiles the plugins, every later one finds them compiled; the limit is for the
//! later ones. Memory is read from `/proc` as well as from the lab itself: a host that
//! misunderstood its own footprint would otherwise vouch for itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Measurement;
use super::lab::{self, resident_mb, stop};
use crate::host_process::HostProcess;
use crate::plugins::EXERCISES;
use crate::progress;
use crate::workspace::Workspace;

/// From the start of the process to the first 200 of `/health`, in milliseconds.
const START_LIMIT_MS: f64 = 150.0;
/// Resident memory of the idle host with the plugins of the exercises, in MiB; how many there are beside them is open.
const IDLE_LIMIT_MB: f64 = 25.0;
/// A start that takes longer than this has failed.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Arguments of `cargo xtask bench startup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Starts that are measured, after one that fills the cache. The median counts.
    #[arg(long, default_value_t = 7)]
    starts: usize,
    /// Seconds of doing nothing before memory is read.
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
}

/// Measures on a free port with the shipped plugins, which must be built.
pub(super) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    // A cache of our own, so that the first start really is one.
    let cache = workspace.scratch().join("bench-startup");
    if cache.exists() {
        fs::remove_dir_all(&cache).context("cannot empty the cache of compiled plugins")?;
    }
    let all = workspace.components();
    progress::announce("first start");
    let first = {
        let (host, took, _) = start(workspace, &all, &cache)?;
        stop(host)?;
        took
    };
    progress::announce(format_args!(
        "{} more starts, with the compiled plugins cached",
        args.starts
    ));
    let mut times = Vec::new();
    for _ in 0..args.starts {
        let (host, took, _) = start(workspace, &all, &cache)?;
        stop(host)?;
        times.push(took);
    }
    let idle = Duration::from_secs(args.idle_seconds);
    progress::announce(format_args!("idle for {} s, twice", args.idle_seconds));
    let with_all = idle_memory(workspace, &all, &cache, idle)?;
    let exercises = only_exercises(workspace)?;
    let with_exercises = idle_memory(workspace, &exercises, &cache, idle)?;

    times.sort_unstable();
    let fastest = times
        .first()
        .copied()
        .context("--starts must be at least 1")?;
    let median = times.get(times.len() / 2).copied().unwrap_or(fastest);
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let number = |what, value, unit, limit| Measurement {
        what,
        value,
        unit,
        limit,
    };
    Ok(vec![
        number("start to healthy, first start", ms(first), "ms", None),
        number(
            "start to healthy, plugins cached, fastest",
            ms(fastest),
            "ms",
            None,
        ),
        number(
            "start to healthy, plugins cached, median",
            ms(median),
            "ms",
            Some(START_LIMIT_MS),
        ),
        number(
            "idle resident memory, all plugins (/admin/memory)",
            with_all.reported,
            "MB",
            None,
        ),
        number(
            "idle resident memory, all plugins (/proc)",
            with_all.from_proc,
            "MB",
            None,
        ),
        number(
            "idle resident memory, the exercises' three (/proc)",
            with_exercises.from_proc,
            "MB",
            Some(IDLE_LIMIT_MB),
        ),
    ])
}

/// Resident memory in MiB, by two accounts.
struct Resident {
    reported: f64,
    from_proc: f64,
}

fn idle_memory(
    workspace: &Workspace,
    plugins: &Path,
    cache: &Path,
    idle: Duration,
) -> Result<Resident> {
    let (host, _, base) = start(workspace, plugins, cache)?;
    sleep(idle);
    let resident = Resident {
        from_proc: resident_mb(host.pid())?,
        reported: reported_resident_mb(&base)?,
    };
    stop(host)?;
    Ok(resident)
}

/// A folder with the plugins of the exercises and no others.
fn only_exercises(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.scratch().join("bench-startup-exercises");
    fs::create_dir_all(&folder).context("cannot create a folder of plugins")?;
    for name in EXERCISES {
        let file = format!("{name}.wasm");
        fs::copy(workspace.components().join(&file), folder.join(&file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(folder)
}

fn start(
    workspace: &Workspace,
    plugins: &Path,
    cache: &Path,
) -> Result<(HostProcess, Duration, String)> {
    lab::start(workspace, plugins, cache, &[], GIVE_UP_AFTER)
}

fn reported_resident_mb(base: &str) -> Result<f64> {
    let memory: serde_json::Value = ureq::get(format!("{base}/admin/memory"))
        .call()
        .context("/admin/memory does not answer")?
        .body_mut()
        .read_json()
        .context("/admin/memory is not JSON")?;
    memory
        .pointer("/process/rss_mb")
        .and_then(serde_json::Value::as_f64)
        .context("no process.rss_mb")
}
