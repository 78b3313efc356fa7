//! `stack up` and `stack down`: the lab in one terminal, on the ports that the README names.

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

use xtask_support::workspace::Workspace;

use crate::addresses::Addresses;
use crate::process::Run;
use crate::service::Service;
use crate::stack::{Programs, Stack};
use crate::{ServiceArgs, runs_folder};

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// For all programs together.
const DOWN_TIMEOUT: Duration = Duration::from_secs(40);

/// Arguments of `stack up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// The limit of the containers. The service ends above it and is started again.
    #[arg(long, default_value = "256MiB")]
    memory_limit: String,
}

/// Runs the lab until Ctrl-C or `stack down`. The service is restarted whenever it ends.
///
/// # Errors
/// When a stack is up already, or a program does not start.
pub(crate) fn up(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let files = args.service.find(workspace)?;
    let mut lock = lock_file(workspace)?;
    if lock.try_lock().is_err() {
        bail!("the stack is up already; end it with: cargo xtask stack down");
    }
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    lock.flush()?;

    let mut signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
    let programs = Programs::obtain();
    let mut skipped = 0_u32;
    for (name, program) in [
        ("Prometheus", &programs.prometheus),
        ("Alertmanager", &programs.alertmanager),
        ("the collector", &programs.collector),
        ("Jaeger", &programs.jaeger),
    ] {
        if let Err(reason) = program {
            skipped += 1;
            println!("without {name}: {reason:#}");
        }
    }
    let run = Run::new(runs_folder(workspace).join("up"))?;
    let stack = Stack::start(workspace, &programs, Addresses::documented()?, run)?;
    let arguments = ["--memory-limit", args.memory_limit.as_str()];
    let mut service = Service::start(&files, stack.addresses, &stack.run, &arguments)?;
    println!("{}", welcome(&stack, skipped));

    while signals.pending().next().is_none() {
        if let Some(code) = service.supervise()? {
            println!("the service ended with exit code {code} and is started again");
        }
        sleep(POLL_INTERVAL);
    }
    println!("ending");
    Ok(ExitCode::SUCCESS)
}

/// Ends the stack of `up`.
///
/// # Errors
/// When it does not end in time.
pub(crate) fn down(workspace: &Workspace) -> Result<ExitCode> {
    let mut lock = lock_file(workspace)?;
    // The lock ends with its process, so a stale process id is never signalled.
    if lock.try_lock().is_ok() {
        println!("the stack is not up");
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    lock.seek(SeekFrom::Start(0))?;
    lock.read_to_string(&mut text)?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(pid.context("the stack wrote no process id")?, Signal::TERM)
        .context("cannot end the stack")?;
    let deadline = Instant::now() + DOWN_TIMEOUT;
    while lock.try_lock().is_err() {
        if Instant::now() >= deadline {
            bail!("the stack did not end within {} s", DOWN_TIMEOUT.as_secs());
        }
        sleep(POLL_INTERVAL);
    }
    println!("the stack is down");
    Ok(ExitCode::SUCCESS)
}

/// The file that is locked while a stack is up. It contains the process id.
fn lock_file(workspace: &Workspace) -> Result<File> {
    let path: PathBuf = Run::new(runs_folder(workspace))?.folder().join("up.pid");
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn welcome(stack: &Stack, skipped: u32) -> String {
    let addresses = &stack.addresses;
    let mut lines = vec![
        "\nThe stack is up. Ctrl-C ends it, or in another terminal: cargo xtask stack down\n"
            .to_owned(),
        format!("  service     {}", addresses.service_url()),
    ];
    if stack.prometheus.is_some() {
        lines.push(format!("  Prometheus  {}", addresses.prometheus_url()));
    }
    if stack.alertmanager.is_some() {
        lines.push(format!("  Alertmanager {}", addresses.alertmanager_url()));
    }
    if stack.jaeger.is_some() {
        lines.push(format!(
            "  Jaeger      {} (its query API)",
            addresses.jaeger_url()
        ));
    }
    if stack.collector.is_some() {
        lines.push(format!(
            "  collector   OTLP on {} and {}, metrics on http://{}/metrics",
            addresses.collector_grpc, addresses.collector_http, addresses.collector_metrics
        ));
    }
    lines.push(format!("  logs        {}", stack.run.folder().display()));
    lines.push(
        "\n  Grafana comes with the containers only: docker compose up --build -d".to_owned(),
    );
    if skipped > 0 {
        lines.push(format!("  {skipped} skipped, see above"));
    }
    lines.join("\n")
}
