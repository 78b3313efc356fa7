//! `cargo xtask test-hostile`: uploads components and plays clients that are made to hurt the host,
//! and damages its folders, while other clients send requests. Prints a table: how each ended, how
//! long the others waited, and what is left of it in the host's memory.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use rustix::process::Signal;
use serde_json::json;
use xtask_hostile::Plugin;
use xtask_support::components::{self, Members};
use xtask_support::host_process::{self, HostProcess, Output};
use xtask_support::http::Client;
use xtask_support::workspace::Workspace;
use xtask_support::{report, toolchain};

use crate::attacks::ATTACKS;
use crate::clients::IdleServer;
use crate::inputs::{Expected, Input, inputs};
use crate::rows::{Row, Target};

mod attacks;
mod clients;
mod files;
mod fuzz;
mod inputs;
mod rows;
mod soak;
mod uploads;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The limit of the host's cache: little more than its own plugins take.
const CACHE_MIB: u64 = 20;

/// Time with requests before the first input, until the plugins drop as much as they take and the
/// host has read their symbols for its histories.
const WARM_UP: Duration = Duration::from_secs(15);

/// Time for random components without `--fuzz`.
const SHORT_FUZZ: Duration = Duration::from_secs(10);

/// Arguments of `cargo xtask test-hostile`.
#[derive(Debug, Parser)]
#[command(name = "xtask-hostile", bin_name = "cargo xtask test-hostile")]
struct Args {
    /// Only inputs whose name contains this
    filter: Option<String>,
    /// Upload random components for so many minutes instead
    #[arg(long, value_name = "MINUTES", conflicts_with = "filter")]
    fuzz: Option<f64>,
    /// The same seed makes the same random components
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hostile uploads, restarts of plugins and load at once for so many minutes instead
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["filter", "fuzz"])]
    soak: Option<f64>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let workspace = Workspace::find()?;
    toolchain::ensure_wasm_targets(&workspace)?;
    components::build(&workspace, Members::Shipped)?;
    host_process::build(&workspace)?;
    let scratch = workspace.scratch().join("test-hostile");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    let (plugins, cache) = (scratch.join("plugins"), scratch.join("cache"));
    components::copy_all(&workspace.components(), &plugins)?;
    let mut command = host_process::command(&workspace);
    host_process::on_free_port(&mut command, &plugins);
    command
        .args(["--compile-timeout", "5s", "--max-cache-size"])
        .arg(format!("{CACHE_MIB}MiB"))
        .arg("--cache")
        .arg(&cache)
        .stderr(fs::File::create(scratch.join("host.log"))?);
    let mut host = HostProcess::start(&mut command, Output::Hidden)?;
    let base = host.wait_until_healthy(START_TIMEOUT)?;
    let target = Target {
        base,
        pid: host.pid(),
        plugins,
        cache,
        cache_bytes: CACHE_MIB << 20,
        idle: IdleServer::start()?,
        admin: Client::default(),
    };
    report::announce(format_args!("hostile components for {}", target.base));
    let wit = workspace.root().join("wit");
    warm_up(&target, &wit)?;
    println!("the host's log: {}", scratch.join("host.log").display());
    let passed = match (args.soak, args.fuzz) {
        (Some(soak), _) => soak::run(
            &target,
            &inputs(&workspace.root().join("wit"))?,
            minutes(soak),
        )?,
        (None, Some(fuzz)) => {
            let row = fuzz::row(&target, args.seed, minutes(fuzz))?;
            rows::print_head();
            row.print();
            row.wrong.is_empty()
        }
        (None, None) => try_all(&wit, &args, &target, &mut host)?,
    };
    ensure!(host.exited()?.is_none(), "the host did not survive");
    host.signal(Signal::TERM);
    let ended = host.wait()?;
    ensure!(ended.success(), "the host did not end cleanly: {ended}");
    Ok(ExitCode::from(u8::from(!passed)))
}

fn minutes(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(minutes * 60.0).unwrap_or_default()
}

/// Creates what every later row uses.
fn warm_up(target: &Target, wit: &Path) -> Result<()> {
    // Plugins that retain next to nothing: memory that is left is of the inputs.
    let (base, admin) = (&target.base, &target.admin);
    for id in ["cache", "history"] {
        let settings = json!({"enabled": true, "variant": "fixed", "payload_bytes": 64});
        admin.post(&format!("{base}/admin/leaks/{id}"), &settings)?;
    }
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        admin.json(&format!("{base}/api/data"))?;
    }
    for first in [b"none".to_vec(), xtask_hostile::nested_loops(100, 1, 1000)] {
        let _refused = admin.put(&format!("{base}/admin/plugins/first"), &first);
    }
    // The code of the host that loads a plugin, runs it on a thread of its own, and handles a trap.
    for on_request in [
        "(drop (memory.grow (i32.const 2000)))",
        "(loop $forever (br $forever))",
    ] {
        let plugin = Plugin {
            id: "first",
            on_request,
            ..Plugin::default()
        };
        let input = Input {
            name: "first",
            id: plugin.id.to_owned(),
            component: plugin.build(wit)?,
            expected: Expected::State("running"),
        };
        uploads::upload(target, &input)?;
    }
    Ok(())
}

/// Tries every row. Returns whether all hold.
fn try_all(wit: &Path, args: &Args, target: &Target, host: &mut HostProcess) -> Result<bool> {
    let (mut passed, mut failed) = (0, 0);
    let is_wanted = |name: &str| {
        args.filter
            .as_ref()
            .is_none_or(|wanted| name.contains(wanted.as_str()))
    };
    let mut done = |row: Row| -> Result<()> {
        row.print();
        if row.wrong.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
        ensure!(host.exited()?.is_none(), "the host did not survive");
        Ok(())
    };
    rows::print_head();
    for input in inputs(wit)? {
        if is_wanted(input.name) {
            done(uploads::row(target, &input)?)?;
        }
    }
    for (name, act) in files::ROWS {
        if is_wanted(name) {
            done(files::row(target, name, act)?)?;
        }
    }
    for attack in &ATTACKS {
        if is_wanted(attack.name) {
            done(attacks::row(target, attack)?)?;
        }
    }
    if is_wanted("random-components") {
        done(fuzz::row(target, args.seed, SHORT_FUZZ)?)?;
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}
