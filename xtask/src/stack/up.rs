//! `stack up` and `stack down`: the lab in one terminal, on the ports of its text.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::addresses::Addresses;
use super::lab::{Lab, Programs};
use super::process::Run;
use super::service::Service;
use super::{HostFiles, runs};
use crate::workspace::Workspace;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// All programs together end within this.
const DOWN_WITHIN: Duration = Duration::from_secs(40);

/// Arguments of `stack up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    host: HostFiles,
    /// What the containers' limit is: above it the service is killed and started again.
    #[arg(long, default_value = "256MiB")]
    memory_limit: String,
}

/// Runs the lab until Ctrl-C or `stack down`. The service is restarted whenever it ends.
///
/// # Errors
/// When it runs already, or a program does not start.
pub(crate) fn up(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let files = args.host.find(workspace)?;
    let mut mine = lock_file(workspace)?;
    if mine.try_lock().is_err() {
        bail!("the stack is up already; end it with: cargo xtask stack down");
    }
    mine.set_len(0)?;
    write!(mine, "{}", std::process::id())?;
    mine.flush()?;

    let mut signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
    let programs = Programs::obtain();
    let mut skipped = 0_u32;
    for (name, program) in [
        ("Prometheus", &programs.prometheus),
        ("the collector", &programs.collector),
        ("Jaeger", &programs.jaeger),
    ] {
        if let Err(why) = program {
            skipped += 1;
            println!("without {name}: {why:#}");
        }
    }
    let run = Run::new(runs(workspace).join("up"))?;
    let lab = Lab::start(workspace, &programs, Addresses::of_the_lab()?, run)?;
    let arguments = ["--memory-limit", args.memory_limit.as_str()];
    let mut service = Service::start(&files, lab.addresses, &lab.run, &arguments)?;
    println!("{}", welcome(&lab, skipped));

    while signals.pending().next().is_none() {
        if let Some(code) = service.supervise()? {
            println!("the service has ended with exit code {code} and is started again");
        }
        sleep(LOOK_EVERY);
    }
    println!("ending");
    Ok(ExitCode::SUCCESS)
}

/// Ends what `up` runs.
///
/// # Errors
/// When nothing runs, or it does not end.
pub(crate) fn down(workspace: &Workspace) -> Result<ExitCode> {
    let mut theirs = lock_file(workspace)?;
    // The lock goes with its process, so a stale number is never signalled.
    if theirs.try_lock().is_ok() {
        println!("the stack is not up");
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    theirs.seek(SeekFrom::Start(0))?;
    theirs.read_to_string(&mut text)?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(
        pid.context("the stack has left no process id")?,
        Signal::TERM,
    )
    .context("cannot end the stack")?;
    let deadline = Instant::now() + DOWN_WITHIN;
    while theirs.try_lock().is_err() {
        if Instant::now() >= deadline {
            bail!("the stack has not ended within {} s", DOWN_WITHIN.as_secs());
        }
        sleep(LOOK_EVERY);
    }
    println!("the stack is down");
    Ok(ExitCode::SUCCESS)
}

/// Locked for as long as a stack is up; holds its process id.
fn lock_file(workspace: &Workspace) -> Result<File> {
    let path: PathBuf = Run::new(runs(workspace))?.folder().join("up.pid");
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn welcome(lab: &Lab, skipped: u32) -> String {
    let addresses = &lab.addresses;
    let mut lines = vec![
        "\nThe stack is up. Ctrl-C ends it, or in another terminal: cargo xtask stack down\n"
            .to_owned(),
        format!("  service     {}", addresses.service_url()),
    ];
    if lab.prometheus.is_some() {
        lines.push(format!("  Prometheus  {}", addresses.prometheus_url()));
    }
    if lab.jaeger.is_some() {
        lines.push(format!(
            "  Jaeger      {} (its query API)",
            addresses.jaeger_url()
        ));
    }
    if lab.collector.is_some() {
        lines.push(format!(
            "  collector   OTLP on {} and {}, metrics on http://{}/metrics",
            addresses.collector_grpc, addresses.collector_http, addresses.collector_metrics
        ));
    }
    lines.push(format!("  logs        {}", lab.run.folder().display()));
    lines.push(
        "\n  Grafana comes with the containers only: docker compose up --build -d".to_owned(),
    );
    if skipped > 0 {
        lines.push(format!("  {skipped} skipped, see above"));
    }
    lines.join("\n")
}
