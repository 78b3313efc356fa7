//! `cargo xtask test-hostile`: uploads components that are made to hurt the host, and plays clients
//! that do so, while other clients send requests. Prints a table: how the input ended, how long the
//! others waited, and what is left of it in the host's memory.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rustix::process::Signal;
use serde_json::json;
use xtask_support::components::{self, Members};
use xtask_support::host_process::{self, HostProcess, Output};
use xtask_support::http::Client;
use xtask_support::workspace::Workspace;
use xtask_support::{report, toolchain};

use crate::attacks::{ATTACKS, Attack};
use crate::clients::Clients;
use crate::inputs::{Expected, Input, inputs};

mod attacks;
mod clients;
mod inputs;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest that `/health` may take for 99 of 100 requests, on a machine that compiles.
const MAX_HEALTH: Duration = Duration::from_millis(200);

/// The same for `/api/data`: the deadline of a plugin, the wait for its queue, and some slack.
const MAX_DATA: Duration = Duration::from_millis(250 + 50 + 200);

/// What a component that was refused, or unloaded, may leave behind, in bytes. A plugin that ran
/// leaves symbols, series and free pages of the allocator, which later plugins use again.
const MAX_LEFT_REFUSED: u64 = 2 << 20;
const MAX_LEFT_LOADED: u64 = 12 << 20;

/// Time with requests before the first input, until the plugins drop as much as they take and the
/// host has read their symbols for its histories.
const WARM_UP: Duration = Duration::from_secs(15);

/// Requests to a plugin that was loaded.
const REQUESTS: usize = 12;

/// How long memory may take to be given back.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(8);

/// Arguments of `cargo xtask test-hostile`.
#[derive(Debug, Parser)]
#[command(name = "xtask-hostile", bin_name = "cargo xtask test-hostile")]
struct Args {
    /// Only inputs whose name contains this.
    filter: Option<String>,
}

/// One row of the table.
struct Row {
    outcome: String,
    health: Duration,
    data: Duration,
    before: u64,
    after: u64,
    wrong: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let workspace = Workspace::find()?;
    toolchain::ensure_wasm_targets(&workspace)?;
    components::build(&workspace, Members::Shipped)?;
    host_process::build(&workspace)?;
    let scratch = workspace.scratch().join("test-hostile");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    let plugins = scratch.join("plugins");
    components::copy_all(&workspace.components(), &plugins)?;
    let mut command = host_process::command(&workspace);
    host_process::on_free_port(&mut command, &plugins);
    command
        .args(["--compile-timeout", "5s"])
        .arg("--cache")
        .arg(scratch.join("cache"));
    let mut host = HostProcess::start(&mut command, Output::Hidden)?;
    let base = host.wait_until_healthy(START_TIMEOUT)?;

    report::announce(format_args!("hostile components for {base}"));
    println!(
        "{:24} {:34} {:>10} {:>10} {:>9} {:>9}  verdict",
        "input", "outcome", "health p99", "data p99", "RSS MiB", "after"
    );
    let (mut passed, mut failed) = (0, 0);
    // Plugins that retain next to nothing: memory that is left is of the inputs.
    let admin = Client::default();
    for id in ["cache", "history"] {
        let settings = json!({"enabled": true, "variant": "fixed", "payload_bytes": 64});
        admin.post(&format!("{base}/admin/leaks/{id}"), &settings)?;
    }
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        admin.json(&format!("{base}/api/data"))?;
    }
    // The first uploads create what all later ones use.
    for first in [b"none".to_vec(), xtask_hostile::nested_loops(100, 1, 1000)] {
        let _refused = admin.put(&format!("{base}/admin/plugins/first"), &first);
    }
    for input in inputs(&workspace.root().join("wit"))? {
        let wanted = args.filter.as_ref();
        if wanted.is_some_and(|wanted| !input.name.contains(wanted)) {
            continue;
        }
        let row = try_input(&base, host.pid(), &input)?;
        print_row(input.name, &row);
        if row.wrong.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
        ensure!(host.exited()?.is_none(), "the host did not survive");
    }
    for attack in &ATTACKS {
        let wanted = args.filter.as_ref();
        if wanted.is_some_and(|wanted| !attack.name.contains(wanted)) {
            continue;
        }
        let row = try_attack(&base, host.pid(), attack)?;
        print_row(attack.name, &row);
        if row.wrong.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
        ensure!(host.exited()?.is_none(), "the host did not survive");
    }
    host.signal(Signal::TERM);
    let ended = host.wait()?;
    ensure!(ended.success(), "the host did not end cleanly: {ended}");
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn print_row(name: &str, row: &Row) {
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let verdict = if row.wrong.is_empty() {
        "ok".to_owned()
    } else {
        format!("FAILED: {}", row.wrong.join(", "))
    };
    let outcome: String = row.outcome.chars().take(34).collect();
    println!(
        "{name:24} {outcome:34} {:>7} ms {:>7} ms {:>9.1} {:>9.1}  {verdict}",
        row.health.as_millis(),
        row.data.as_millis(),
        mebibytes(row.before),
        mebibytes(row.after),
    );
}

fn try_input(base: &str, pid: u32, input: &Input) -> Result<Row> {
    let admin = Client::default();
    give_back(base, &admin)?;
    let before = resident_bytes(pid)?;
    let clients = Clients::start(base);
    let url = format!("{base}/admin/plugins/{}", input.id);
    let loaded = admin.put(&url, &input.component);
    let outcome = match &loaded {
        Ok(_) => run_loaded(base, &admin, input)?,
        Err(error) => format!("refused: {}", reason(&format!("{error:#}"))),
    };
    let max_left = if loaded.is_ok() {
        MAX_LEFT_LOADED
    } else {
        MAX_LEFT_REFUSED
    };
    let mut row = finish_row(base, pid, clients, (before, max_left), outcome)?;
    if !input.expected.matches(&row.outcome) {
        row.wrong.push(format!("expected {:?}", input.expected));
    }
    Ok(row)
}

fn try_attack(base: &str, pid: u32, attack: &Attack) -> Result<Row> {
    give_back(base, &Client::default())?;
    let before = resident_bytes(pid)?;
    let clients = Clients::start(base);
    let address = base.trim_start_matches("http://");
    let outcome = (attack.run)(address).unwrap_or_else(|error| format!("{error:#}"));
    let mut row = finish_row(base, pid, clients, (before, MAX_LEFT_REFUSED), outcome)?;
    if row.outcome != attack.expected {
        row.wrong.push(format!("expected {}", attack.expected));
    }
    Ok(row)
}

/// Stops the other clients, and measures what is left of an input.
fn finish_row(
    base: &str,
    pid: u32,
    clients: Clients,
    (before, max_left): (u64, u64),
    outcome: String,
) -> Result<Row> {
    let times = clients.stop()?;
    give_back(base, &Client::default())?;
    let after = settle(pid, before + max_left)?;
    let mut wrong = Vec::new();
    if times.health > MAX_HEALTH {
        wrong.push("/health is slow".to_owned());
    }
    if times.data > MAX_DATA {
        wrong.push("/api/data is slow".to_owned());
    }
    if times.failed > 0 {
        wrong.push(format!("{} requests failed", times.failed));
    }
    if after > before + max_left {
        wrong.push("memory is left".to_owned());
    }
    Ok(Row {
        outcome,
        health: times.health,
        data: times.data,
        before,
        after,
        wrong,
    })
}

/// Sends requests to a plugin that was loaded, and unloads it. Returns the plugin's last state.
fn run_loaded(base: &str, admin: &Client, input: &Input) -> Result<String> {
    let settings = match input.expected {
        // A small limit, and the time to reach it on a busy machine.
        Expected::State("exhausted") => {
            json!({"enabled": true, "memory_limit_mb": 64, "deadline_ms": 2000})
        }
        _ => json!({"enabled": true}),
    };
    admin.post(&format!("{base}/admin/leaks/{}", input.id), &settings)?;
    for _ in 0..REQUESTS {
        admin.json(&format!("{base}/api/data"))?;
    }
    let status = admin.json(&format!("{base}/admin/leaks/status"))?;
    let pointer = format!("/leaks/{}/state", input.id);
    let state = status.pointer(&pointer).and_then(|state| state.as_str());
    let state = state.context("the status has no state")?.to_owned();
    admin.delete(&format!("{base}/admin/plugins/{}", input.id))?;
    Ok(state)
}

/// The code of an error, from the text of the answer.
fn reason(error: &str) -> String {
    let code = error.split("\"code\":\"").nth(1);
    let code = code.and_then(|rest| rest.split('"').next());
    code.unwrap_or(error).to_owned()
}

/// Returns the free pages of the host's allocator: the other clients' requests leave some too.
fn give_back(base: &str, admin: &Client) -> Result<()> {
    admin.post(&format!("{base}/admin/gc"), &json!({}))?;
    Ok(())
}

/// Waits until the host has at most `wanted` bytes of resident memory, and returns what it has.
fn settle(pid: u32, wanted: u64) -> Result<u64> {
    let until = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let resident = resident_bytes(pid)?;
        if resident <= wanted || Instant::now() >= until {
            return Ok(resident);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? * 1024)
}

impl Expected {
    fn matches(&self, outcome: &str) -> bool {
        match self {
            Expected::Refused(code) => outcome == format!("refused: {code}"),
            Expected::State(state) => outcome == *state,
        }
    }
}
