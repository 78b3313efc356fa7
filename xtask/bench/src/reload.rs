//! A thousand loads and unloads under load: no request fails, and no memory or thread is left
//! behind.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use xtask_support::http::Client;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use crate::measured_host::{self, MeasuredHost, Resources, empty_folder, renamed};
use crate::measurement::Measurement;

/// Growth of resident memory, in MiB.
const MAX_GROWTH_MB: f64 = 5.0;
/// Additional threads, open files and tasks: connections open and close by themselves.
const MAX_GAINED: f64 = 8.0;
/// Additional mappings: the allocator makes some of its own.
const MAX_GAINED_MAPPINGS: f64 = 64.0;
/// Loads and unloads before the first measurement.
const WARM_UP_LOADS: usize = 50;
/// The plugin that is loaded and unloaded, under each of these ids in turn.
const MODEL: &str = "listeners";
const IDS: [&str; 2] = ["listeners", "temporary"];
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Arguments of `cargo xtask bench reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Loads, each followed by an unload.
    #[arg(long, default_value_t = 1000)]
    loads: usize,
    /// Clients that send requests meanwhile.
    #[arg(long, default_value_t = 4)]
    clients: usize,
}

/// Requests of all clients.
#[derive(Debug, Default)]
struct Traffic {
    stop: AtomicBool,
    sent: AtomicUsize,
    failed: AtomicUsize,
}

/// Measures on a free port with the shipped plugins.
pub(crate) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    let scratch = workspace.scratch().join("bench-reload");
    empty_folder(&scratch)?;
    let folder = scratch.join("plugins");
    empty_folder(&folder)?;
    let cache = "cache.wasm";
    fs::copy(workspace.components().join(cache), folder.join(cache))
        .context("cannot copy a plugin")?;
    let file = workspace.components().join(format!("{MODEL}.wasm"));
    let model = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let components = IDS
        .iter()
        .map(|id| Ok((*id, renamed(&model, MODEL, id)?)))
        .collect::<Result<Vec<_>>>()?;

    let mut command = measured_host::command(workspace, &folder);
    command.arg("--cache").arg(scratch.join("cache"));
    command.args(["--enable", "cache"]);
    let host = MeasuredHost::start(&mut command, START_TIMEOUT)?;
    host.set_leak("cache", &json!({"variant": "fixed"}))?;

    let traffic = Traffic::default();
    let url = host.url("/api/data");
    let outcome = thread::scope(|scope| {
        for _ in 0..args.clients {
            scope.spawn(|| traffic.send(&url));
        }
        let outcome = load_and_unload(&host, &components, args);
        traffic.stop.store(true, Ordering::Relaxed);
        outcome
    })?;
    host.stop()?;

    let (shown, limited) = (Measurement::shown, Measurement::limited);
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as f64;
    let (before, after) = (outcome.before, outcome.after);
    let gained = |of: fn(&Resources) -> i64| (of(&after.1) - of(&before.1)) as f64;
    let each_ms = outcome.took.as_secs_f64() * 1e3 / (args.loads.max(1)) as f64;
    Ok(vec![
        shown("loads and unloads", args.loads as f64, ""),
        shown("a load and its unload", each_ms, "ms"),
        shown("requests meanwhile", count(&traffic.sent), ""),
        limited("requests that failed", count(&traffic.failed), "", 0.0),
        shown("resident memory before", before.0, "MB"),
        limited(
            "resident memory gained",
            after.0 - before.0,
            "MB",
            MAX_GROWTH_MB,
        ),
        limited("threads gained", gained(|r| r.threads), "", MAX_GAINED),
        limited("open files gained", gained(|r| r.files), "", MAX_GAINED),
        limited("tasks gained", gained(|r| r.tasks), "", MAX_GAINED),
        limited(
            "mappings gained",
            gained(|r| r.mappings),
            "",
            MAX_GAINED_MAPPINGS,
        ),
    ])
}

/// Resident memory in MiB, and the other resources.
type Footprint = (f64, Resources);

struct ReloadResult {
    before: Footprint,
    after: Footprint,
    took: Duration,
}

fn load_and_unload(
    host: &MeasuredHost,
    components: &[(&str, Vec<u8>)],
    args: &Args,
) -> Result<ReloadResult> {
    let client = Client::default();
    let once = |n: usize| -> Result<()> {
        let Some((id, component)) = components.get(n % components.len().max(1)) else {
            bail!("there is no component");
        };
        let url = host.url(&format!("/admin/plugins/{id}"));
        client.put(&url, component).context("loading failed")?;
        host.set_leak(id, &json!({"enabled": true}))?;
        client.delete(&url).context("unloading failed")?;
        Ok(())
    };
    report::announce(format_args!("{WARM_UP_LOADS} loads to warm up"));
    for n in 0..WARM_UP_LOADS {
        once(n)?;
    }
    let before = settled_footprint(host)?;
    report::announce(format_args!(
        "{} loads and unloads under {} clients",
        args.loads, args.clients
    ));
    let started = Instant::now();
    for n in 0..args.loads {
        once(n)?;
    }
    let took = started.elapsed();
    Ok(ReloadResult {
        before,
        after: settled_footprint(host)?,
        took,
    })
}

/// The footprint after the host has returned memory to the system; the least memory of five
/// readings.
fn settled_footprint(host: &MeasuredHost) -> Result<Footprint> {
    let mut least_mb = f64::INFINITY;
    for _ in 0..5 {
        sleep(Duration::from_millis(500));
        host.post("/admin/gc", &json!({}))?;
        least_mb = least_mb.min(host.resident_mb()?);
    }
    Ok((least_mb, host.resources()?))
}

impl Traffic {
    /// Sends one request after the other until it is told to stop.
    fn send(&self, url: &str) {
        let client = Client::default();
        while !self.stop.load(Ordering::Relaxed) {
            let served = client.json(url).is_ok_and(|data| {
                let failed = data.pointer("/leaks_failed").and_then(Value::as_array);
                failed.is_none_or(Vec::is_empty)
            });
            self.sent.fetch_add(1, Ordering::Relaxed);
            self.failed
                .fetch_add(usize::from(!served), Ordering::Relaxed);
            sleep(Duration::from_millis(1));
        }
    }
}
