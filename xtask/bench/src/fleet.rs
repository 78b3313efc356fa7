//! A hundred hosts on one machine: what `leak-host fleet` takes, also with a host that is stopped.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use crate::measured_host::{self, MeasuredHost, empty_folder};
use crate::measurement::{Measurement, median};

/// `fleet status` with all hosts idle, in milliseconds.
const MAX_STATUS_MS: f64 = 1000.0;

/// How long one stopped host may delay the others, in milliseconds.
const MAX_DELAY_MS: f64 = 1000.0;

const START_TIMEOUT: Duration = Duration::from_secs(300);

/// Calls of each kind. The median counts.
const CALLS: usize = 5;

/// Arguments of `cargo xtask bench fleet`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many hosts, 2 to 500.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=500))]
    hosts: u16,
    /// Plugins of each host: `exercises` or `all`.
    #[arg(long, default_value = "exercises", value_parser = ["exercises", "all"])]
    plugins: String,
}

/// Starts the hosts on free ports and measures.
pub(crate) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    let scratch = workspace.scratch().join("bench-fleet");
    let (plugins, cache) = (scratch.join("plugins"), scratch.join("cache"));
    empty_folder(&plugins)?;
    for entry in fs::read_dir(workspace.components()).context("no components")? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_exercise = ["cache", "history", "listeners"].contains(&name.as_str());
        if args.plugins == "all" || is_exercise {
            fs::copy(&path, plugins.join(format!("{name}.wasm"))).context("cannot copy")?;
        }
    }
    report::announce(format_args!("starting {} hosts", args.hosts));
    let started = Instant::now();
    let mut hosts = Vec::new();
    for number in 0..args.hosts {
        let mut command = measured_host::command(workspace, &plugins);
        let name = format!("host-{number}");
        command.arg("--cache").arg(&cache).args(["--name", &name]);
        hosts.push(MeasuredHost::start(&mut command, START_TIMEOUT)?);
    }
    let start_seconds = started.elapsed().as_secs_f64();
    sleep(Duration::from_secs(5));
    let mut resident = 0.0;
    for host in &hosts {
        resident += host.resident_mb()?;
    }
    let file = scratch.join("hosts");
    let addresses: Vec<_> = hosts
        .iter()
        .map(|host| format!("{}\n", host.base))
        .collect();
    fs::write(&file, addresses.concat()).context("cannot write the addresses")?;

    let all = usize::from(args.hosts);
    let fleet = |arguments: &[&str]| command(workspace, &file, arguments);
    let status_ms = median_ms(|| fleet(&["status"]), all, 0)?;
    let one_ms = median_ms(|| fleet(&["status", "--only", "1"]), 1, 0)?;
    let enable_ms = median_ms(|| fleet(&["enable", "cache"]), all, 0)?;
    let diff_ms = median_ms(|| fleet(&["diff"]), all, 0)?;

    report::announce("one host is stopped (SIGSTOP)");
    let stopped = hosts.last().context("no hosts")?;
    signal(stopped, "-STOP")?;
    let running = hosts.len() - 1;
    let started = Instant::now();
    let mut child = fleet(&["disable", "cache"])
        .spawn()
        .context("cannot start")?;
    let mut reached_ms = f64::NAN;
    while started.elapsed() < Duration::from_secs(10) {
        let off = hosts
            .iter()
            .take(running)
            .filter(|host| is_off(host))
            .count();
        if off == running {
            reached_ms = started.elapsed().as_secs_f64() * 1e3;
            break;
        }
    }
    child.wait().context("cannot wait")?;
    let with_stopped_ms = median_ms(|| fleet(&["status"]), all, 1)?;
    signal(stopped, "-CONT")?;
    for host in hosts {
        host.stop()?;
    }
    let (shown, limited) = (Measurement::shown, Measurement::limited);
    Ok(vec![
        shown("hosts", f64::from(args.hosts), ""),
        shown("start of all, one after the other", start_seconds, "s"),
        shown(
            "resident memory per host",
            resident / f64::from(args.hosts),
            "MB",
        ),
        shown("fleet status of one host", one_ms, "ms"),
        limited("fleet status", status_ms, "ms", MAX_STATUS_MS),
        shown("fleet enable", enable_ms, "ms"),
        shown("fleet diff", diff_ms, "ms"),
        limited(
            "all others reached, one host stopped",
            reached_ms,
            "ms",
            MAX_DELAY_MS,
        ),
        shown("fleet status, one host stopped", with_stopped_ms, "ms"),
    ])
}

fn command(workspace: &Workspace, file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(workspace.host_binary());
    command
        .arg("fleet")
        .args(arguments)
        .arg("--file")
        .arg(file)
        .arg("--json");
    command
        .env_remove("LEAK_ADMIN_TOKEN")
        .stdout(std::process::Stdio::piped());
    command
}

/// The median time of a command, from its start to its end. It asks so many hosts, and so many
/// fail.
fn median_ms(command: impl Fn() -> Command, asked: usize, failed: usize) -> Result<f64> {
    let mut times_ms = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let started = Instant::now();
        let output = command().output().context("cannot start the command")?;
        times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        check(&output, asked, failed)?;
    }
    Ok(median(times_ms.into_iter()))
}

fn check(output: &Output, asked: usize, failed: usize) -> Result<()> {
    let answer: Value = serde_json::from_slice(&output.stdout).context("no JSON")?;
    let count = |name: &str| answer.get(name).and_then(Value::as_u64);
    let expected = (Some(asked as u64), Some(failed as u64));
    let counts = (count("asked"), count("failed"));
    let hosts = answer.get("hosts").and_then(Value::as_array);
    let first = hosts.and_then(|hosts| hosts.iter().find_map(|host| host.get("error")));
    ensure!(
        counts == expected,
        "asked and failed are {counts:?} and not {expected:?}: {first:?}"
    );
    Ok(())
}

fn is_off(host: &MeasuredHost) -> bool {
    let leak = host.get("/admin/leaks/cache");
    leak.is_ok_and(|leak| leak.get("enabled") == Some(&Value::Bool(false)))
}

fn signal(host: &MeasuredHost, name: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([name, &host.pid().to_string()])
        .status();
    ensure!(
        status.context("cannot run kill")?.success(),
        "kill {name} failed"
    );
    Ok(())
}
