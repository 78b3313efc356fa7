//! What the lab costs a request: `/api/data` of the host, with and without leaks, against a plain
//! axum service with the same response.
//!
//! All services run at the same time and take turns, so that other load on the machine affects each
//! of them. A shared machine is faster in one minute than in the next; so each ratio is taken
//! within one turn, and the table shows the median over all turns. The load generator is `wrk` on
//! the same machine: the ratio also says how much of the machine is left for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use xtask_support::components::EXERCISES;
use xtask_support::host_process;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use self::comparison::{Row, Subject, print};
use crate::measured_host::MeasuredHost;
use crate::wrk::{self, Turn};

mod comparison;

/// What one request retains in each leak, in bytes. With 20,000 requests a second three leaks then
/// retain some 50 MB a second, most of it in the record of history, so a turn fits into memory. A
/// reset ends each turn.
const PAYLOAD_BYTES: u32 = 64;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `cargo xtask bench http`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Turns of each service with each number of connections. The median counts.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Seconds of load in one turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Numbers of connections that the load generator holds open. With few of them it falls asleep
    /// between two responses of the slower service, which then pays for the wake-ups.
    #[arg(long, value_delimiter = ',', default_value = "2,16,128",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: Vec<u32>,
    /// Measure this host binary instead of building one.
    #[arg(long, value_name = "PATH")]
    host: Option<PathBuf>,
    /// Measure this host binary in the same turns, and compare with it.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
}

impl Args {
    /// True unless a prebuilt host is given.
    pub(crate) fn needs_host(&self) -> bool {
        self.host.is_none()
    }
}

/// A service under measurement.
struct Contender {
    subject: Subject,
    host: MeasuredHost,
    /// The turns with each number of connections.
    turns: Vec<Vec<Turn>>,
}

/// Runs the comparison and prints it. False when a goal is missed.
///
/// # Errors
/// When `wrk` is missing, a service does not build or start, or a request fails.
pub(crate) fn compare(workspace: &Workspace, args: &Args) -> Result<bool> {
    let wrk = wrk::find()?;
    let plain = build_plain_axum(workspace)?;
    let host_command = || match &args.host {
        Some(binary) => Command::new(binary),
        None => host_process::command(workspace),
    };
    let mut contenders = vec![Contender::start(
        Subject::PlainAxum,
        &mut Command::new(plain),
        args,
    )?];
    let components = workspace.components();
    for subject in Subject::of_host() {
        contenders.push(Contender::of_host(
            subject,
            host_command(),
            &components,
            args,
        )?);
    }
    if let Some(binary) = &args.against {
        for subject in Subject::of_other_host() {
            let command = Command::new(binary);
            contenders.push(Contender::of_host(subject, command, &components, args)?);
        }
    }
    for turn in 1..=args.turns {
        report::announce(format_args!("turn {turn} of {}", args.turns));
        for (index, &connections) in args.connections.iter().enumerate() {
            for contender in &mut contenders {
                let measured = contender.measure(&wrk, connections, args.seconds)?;
                if let Some(turns) = contender.turns.get_mut(index) {
                    turns.push(measured);
                }
            }
        }
    }
    println!(
        "\n{} turns of {} s each, {PAYLOAD_BYTES} bytes requested of each leak",
        args.turns, args.seconds
    );
    let turns: Vec<_> = contenders
        .iter()
        .map(|contender| (contender.subject, contender.turns.as_slice()))
        .collect();
    let rows = Row::all(&turns);
    Ok(print(&rows, &args.connections))
}

impl Contender {
    fn of_host(
        subject: Subject,
        mut command: Command,
        components: &Path,
        args: &Args,
    ) -> Result<Self> {
        host_process::on_free_port(&mut command, components)
            .args(["--heap-profile", subject.heap_profile()]);
        Self::start(subject, &mut command, args)
    }

    fn start(subject: Subject, command: &mut Command, args: &Args) -> Result<Self> {
        let host = MeasuredHost::start(command, START_TIMEOUT).with_context(|| subject.name())?;
        if subject.leaks() {
            for leak in EXERCISES {
                let settings = json!({ "enabled": true, "payload_bytes": PAYLOAD_BYTES });
                host.set_leak(leak, &settings)?;
            }
        }
        Ok(Self {
            subject,
            host,
            turns: vec![Vec::new(); args.connections.len()],
        })
    }

    /// One turn under load, with new plugin instances.
    fn measure(&self, wrk: &Path, connections: u32, seconds: u32) -> Result<Turn> {
        let name = self.subject.name();
        if self.subject.leaks() {
            for leak in EXERCISES {
                self.host.reset_leak(leak)?;
            }
        }
        let output = wrk::command(wrk, connections, Duration::from_secs(seconds.into()))
            .arg(self.host.url("/api/data"))
            .output()
            .context("cannot start wrk")?;
        let report = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{name}: wrk: {report}");
        let turn = wrk::parse_report(&report).with_context(|| format!("{name}: {report}"))?;
        if self.subject.leaks() {
            let response = self.host.get("/api/data")?;
            let failed = response.get("leaks_failed").and_then(|f| f.as_array());
            ensure!(
                failed.is_some_and(Vec::is_empty),
                "{name}: a leak failed under load: {response}"
            );
        }
        Ok(turn)
    }
}

fn build_plain_axum(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--workspace"]);
    cargo.args(["--example", "plain_axum"]);
    report::must_succeed("building the plain axum service", &mut cargo)?;
    Ok(workspace.target().join("release/examples/plain_axum"))
}
