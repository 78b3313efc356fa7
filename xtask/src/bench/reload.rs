//! A thousand loads and unloads under load: no request fails, and nothing is left behind.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Measurement;
use super::lab::{self, Held, held, renamed, resident_mb, stop};
use crate::progress;
use crate::workspace::Workspace;

/// Resident memory afterwards, over that before, in MiB.
const RESIDENT_LIMIT_MB: f64 = 5.0;
/// Threads, open files and tasks afterwards, over those before: connections come and go by themselves.
const HELD_LIMIT: f64 = 8.0;
/// Mappings afterwards, over those before: the allocator makes some of its own.
const MAPPINGS_LIMIT: f64 = 64.0;
/// Loads and unloads before anything is measured.
const WARM_UP: usize = 50;
/// The plugin that comes and goes, under these ids.
const MODEL: &str = "listeners";
const IDS: [&str; 2] = ["listeners", "temporary"];
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
/// A lab that is slow to answer is not one that fails.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

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

/// Measures on a free port. The plugins that are shipped must be built.
pub(super) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    let scratch = workspace.scratch().join("bench-reload");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).context("cannot empty the scratch folder")?;
    }
    let folder = scratch.join("plugins");
    fs::create_dir_all(&folder).context("cannot make the scratch folder")?;
    fs::copy(
        workspace.components().join("cache.wasm"),
        folder.join("cache.wasm"),
    )
    .context("cannot copy a plugin")?;
    let file = workspace.components().join(format!("{MODEL}.wasm"));
    let model = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let components = IDS
        .iter()
        .map(|id| renamed(&model, MODEL, id))
        .collect::<Result<Vec<_>>>()?;

    let (host, _, base) = lab::start(
        workspace,
        &folder,
        &scratch.join("cache"),
        &["--enable", "cache"],
        GIVE_UP_AFTER,
    )?;
    post(
        &format!("{base}/admin/leaks/cache"),
        &serde_json::json!({"variant": "fixed"}),
    )?;
    let (stop_clients, sent, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..args.clients)
        .map(|_| {
            let (url, stop) = (format!("{base}/api/data"), stop_clients.clone());
            let (sent, failed) = (sent.clone(), failed.clone());
            thread::spawn(move || client(&url, &stop, &sent, &failed))
        })
        .collect();

    let round = |n: usize| -> Result<()> {
        let turn = n % IDS.len();
        let (Some(id), Some(component)) = (IDS.get(turn), components.get(turn)) else {
            bail!("no component for round {n}");
        };
        let url = format!("{base}/admin/plugins/{id}");
        let agent = agent();
        agent.put(&url).send(component).context("loading failed")?;
        post(
            &format!("{base}/admin/leaks/{id}"),
            &serde_json::json!({"enabled": true}),
        )?;
        agent.delete(&url).call().context("unloading failed")?;
        Ok(())
    };
    progress::announce(format_args!("{WARM_UP} loads to warm up"));
    for n in 0..WARM_UP {
        round(n)?;
    }
    let (resident_before, before) = settled(&base, host.pid())?;
    progress::announce(format_args!(
        "{} loads and unloads under {} clients",
        args.loads, args.clients
    ));
    let started = Instant::now();
    for n in 0..args.loads {
        round(n)?;
    }
    let took = started.elapsed();
    let (resident_after, after) = settled(&base, host.pid())?;
    stop_clients.store(true, Ordering::Relaxed);
    for client in clients {
        if client.join().is_err() {
            bail!("a client panicked");
        }
    }
    stop(host)?;

    let number = |what, value, unit, limit| Measurement {
        what,
        value,
        unit,
        limit,
    };
    let more = |of: fn(&Held) -> i64| (of(&after) - of(&before)) as f64;
    let ms = took.as_secs_f64() * 1e3 / (args.loads.max(1)) as f64;
    Ok(vec![
        number("loads and unloads", args.loads as f64, "", None),
        number("a load and its unload", ms, "ms", None),
        number(
            "requests meanwhile",
            sent.load(Ordering::Relaxed) as f64,
            "",
            None,
        ),
        number(
            "requests that failed",
            failed.load(Ordering::Relaxed) as f64,
            "",
            Some(0.0),
        ),
        number("resident memory before", resident_before, "MB", None),
        number(
            "resident memory gained",
            resident_after - resident_before,
            "MB",
            Some(RESIDENT_LIMIT_MB),
        ),
        number("threads gained", more(|h| h.threads), "", Some(HELD_LIMIT)),
        number("open files gained", more(|h| h.files), "", Some(HELD_LIMIT)),
        number("tasks gained", more(|h| h.tasks), "", Some(HELD_LIMIT)),
        number(
            "mappings gained",
            more(|h| h.mappings),
            "",
            Some(MAPPINGS_LIMIT),
        ),
    ])
}

/// Memory and what else is held after what can be given back has been; the least memory of some readings.
fn settled(base: &str, pid: u32) -> Result<(f64, Held)> {
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        sleep(Duration::from_millis(500));
        post(&format!("{base}/admin/gc"), &serde_json::json!({}))?;
        least = least.min(resident_mb(pid)?);
    }
    Ok((least, held(base, pid)?))
}

fn client(url: &str, stop: &AtomicBool, sent: &AtomicUsize, failed: &AtomicUsize) {
    let agent = agent();
    while !stop.load(Ordering::Relaxed) {
        let answer = agent
            .get(url)
            .call()
            .and_then(|mut answer| answer.body_mut().read_json::<serde_json::Value>());
        let fine = answer.is_ok_and(|data| {
            let left_out = data.pointer("/leaks_failed").and_then(|f| f.as_array());
            left_out.is_none_or(Vec::is_empty)
        });
        sent.fetch_add(1, Ordering::Relaxed);
        if !fine {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(1));
    }
}

fn post(url: &str, body: &serde_json::Value) -> Result<()> {
    agent()
        .post(url)
        .send_json(body)
        .with_context(|| format!("{url} failed"))?;
    Ok(())
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN));
    config.build().into()
}
