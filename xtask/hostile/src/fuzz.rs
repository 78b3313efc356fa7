//! `cargo xtask test-hostile --fuzz MINUTES`: random changes of components against the loader and
//! the compiler's process. Some of these processes are killed. Each upload gets an answer that is
//! no failure of the host, and the other clients notice nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use xtask_hostile::Mutations;
use xtask_support::host_process::send_signal;

use crate::rows::{Row, Target};
use crate::uploads::reason;

/// The plugin that is replaced by random components.
const PLUGIN: &str = "in-flight";

/// How an upload of a changed component may be refused.
const REFUSALS: [&str; 6] = [
    "missing_component",
    "plugin_refused",
    "plugin_too_costly",
    "id_mismatch",
    "file_taken",
    "compiler_busy",
];

/// One upload of this many has its compiler killed.
const UPLOADS_PER_KILL: u64 = 10;

/// Uploads changed components for some time.
pub(crate) fn row(target: &Target, seed: u64, time: Duration) -> Result<Row> {
    let mut seeds = Vec::new();
    for name in [PLUGIN, PLUGIN, "history"] {
        let path = target.plugins.join(format!("{name}.wasm"));
        seeds.push(std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    seeds.push(xtask_hostile::module("(func) (memory 1) (table 2 funcref)"));
    let mut mutations = Mutations::new(seeds, seed);
    let row = target.try_row("random-components", &["survived".to_owned()], |target| {
        let (mut uploads, mut loaded) = (0_u64, 0_u64);
        let until = Instant::now() + time;
        while Instant::now() < until {
            let component = mutations.next_component();
            let killer =
                (uploads % UPLOADS_PER_KILL == 0).then(|| kill_compiler(target.pid, uploads));
            loaded += u64::from(upload(target, &component)?);
            drop(killer);
            uploads += 1;
        }
        println!("{uploads} random components, {loaded} of them were loaded; seed {seed}");
        Ok("survived".to_owned())
    })?;
    Ok(row)
}

/// Whether it was loaded. It is unloaded again.
fn upload(target: &Target, component: &[u8]) -> Result<bool> {
    let url = format!("{}/admin/plugins/{PLUGIN}", target.base);
    match target.admin.put(&url, component) {
        Ok(_) => {
            target.admin.delete(&url)?;
            Ok(true)
        }
        Err(error) => {
            let code = reason(&format!("{error:#}"));
            ensure!(REFUSALS.contains(&code.as_str()), "{error:#}");
            Ok(false)
        }
    }
}

/// Kills the children of the host some milliseconds later.
fn kill_compiler(host: u32, random: u64) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(random % 50));
        let signals = [Signal::SEGV, Signal::KILL, Signal::ABORT, Signal::BUS];
        let signal = signals.get(random as usize / 10 % signals.len());
        for child in children(host) {
            send_signal(child, *signal.unwrap_or(&Signal::KILL));
        }
    })
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task");
    let threads = std::fs::read_dir(path).into_iter().flatten().flatten();
    let of_thread =
        |thread: &Path| std::fs::read_to_string(thread.join("children")).unwrap_or_default();
    threads
        .flat_map(|thread| {
            let text = of_thread(&thread.path());
            let ids: Vec<u32> = text
                .split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect();
            ids
        })
        .collect()
}
