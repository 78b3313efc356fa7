//! What the heap profile costs an HTTP service: `guest-heap serve` against the same command with
//! `--no-profile`.
//!
//! Both run at the same time and take turns, so that other load on the machine affects both. Each
//! ratio is taken within one turn, and the table shows the median over all turns. On a machine with
//! two cores or more the server has one core, and the load generator has the others.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::http;
use xtask_support::report;
use xtask_support::tools::on_path;
use xtask_support::wait::wait_for;
use xtask_support::workspace::Workspace;

use crate::measurement::median;
use crate::wrk::{self, Turn};

const FIXTURES: &str = "host/guest-heap-cli/fixtures";

/// The services of the command's own tests. Their request leaks 100 bytes.
const SERVICES: [(&str, &str); 2] = [("http_service", "/leak"), ("async_http_service", "/leak")];

/// The part of the plain throughput that the profile must leave.
const GOAL: f64 = 0.8;

const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The kernel counts the processor time of a process in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Arguments of `cargo xtask bench serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Turns of each server. The median counts.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Seconds of load in one turn.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections that the load generator holds open.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Measure these components, too. They get the path of `--path`.
    #[arg(value_name = "COMPONENT")]
    components: Vec<PathBuf>,
    /// The path that is requested of COMPONENT.
    #[arg(long, default_value = "/")]
    path: String,
}

/// One component, and its two servers.
struct Contender {
    name: String,
    path: String,
    profiled: Server,
    plain: Server,
    /// Of the two servers in one turn.
    turns: Vec<(Load, Load)>,
}

/// `guest-heap serve` as a process. It is killed when it is dropped.
struct Server {
    child: Child,
    service: String,
    admin: String,
}

/// What one turn showed of a server.
#[derive(Debug, Clone, Copy)]
struct Load {
    turn: Turn,
    /// Microseconds of processor time for one request.
    processor_us: f64,
}

/// Runs the comparison and prints it. False when a goal is missed.
///
/// # Errors
/// When `wrk` is missing, a component does not start, or a request fails.
pub(crate) fn compare(workspace: &Workspace, args: &Args) -> Result<bool> {
    let wrk = wrk::find()?;
    let fixtures = build(workspace)?;
    let own = SERVICES
        .iter()
        .map(|(name, path)| (fixtures.join(format!("{name}.wasm")), (*path).to_owned()));
    let others = args.components.iter();
    let others = others.map(|component| (component.clone(), args.path.clone()));
    let mut contenders = Vec::new();
    for (component, path) in own.chain(others) {
        contenders.push(Contender::start(workspace, &component, path)?);
    }
    for turn in 1..=args.turns {
        report::announce(format_args!("turn {turn} of {}", args.turns));
        for contender in &mut contenders {
            let profiled = contender.profiled.measure(&wrk, &contender.path, args)?;
            let plain = contender.plain.measure(&wrk, &contender.path, args)?;
            contender.turns.push((profiled, plain));
        }
    }
    println!(
        "\n{} turns of {} s each with {} connections; medians, profiled / plain",
        args.turns, args.seconds, args.connections
    );
    println!(
        "{:<24} {:>10} {:>10} {:>8} {:>8}   {:>9} {:>9} {:>6}",
        "service", "requests/s", "plain", "ratio", "p99", "us", "plain us", "ratio"
    );
    let mut within = true;
    for contender in &contenders {
        within &= contender.print();
    }
    for contender in &contenders {
        println!("{}: {}", contender.name, contender.growth()?);
    }
    Ok(within)
}

/// Builds the command and the services of its tests. Returns the folder of the services.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--workspace", "--bin", "guest-heap"]);
    report::must_succeed("building the command guest-heap", &mut cargo)?;
    let target = workspace.target().join("guest-heap-fixtures");
    let mut cargo = workspace.plugins_wasm_cargo();
    cargo
        .current_dir(workspace.root().join(FIXTURES))
        .env("CARGO_TARGET_DIR", &target)
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
        ]);
    report::must_succeed("building the services", &mut cargo)?;
    Ok(target.join("wasm32-wasip2/release"))
}

impl Contender {
    fn start(workspace: &Workspace, component: &Path, path: String) -> Result<Self> {
        let name = component.file_stem().context("a component has a name")?;
        let name = name.to_string_lossy().into_owned();
        Ok(Self {
            profiled: Server::start(workspace, component, &path, &[])?,
            plain: Server::start(workspace, component, &path, &["--no-profile"])?,
            name,
            path,
            turns: Vec::new(),
        })
    }

    /// Prints the row. False if the goal is missed.
    fn print(&self) -> bool {
        let of = |number: fn(&(Load, Load)) -> f64| median(self.turns.iter().map(number));
        let ratio = of(|(profiled, plain)| {
            profiled.turn.requests_per_second / plain.turn.requests_per_second
        });
        let within = ratio >= GOAL;
        println!(
            "{:<24} {:>10.0} {:>10.0} {:>8.2} {:>8.2}   {:>9.1} {:>9.1} {:>6.2}  ({})",
            self.name,
            of(|(profiled, _)| profiled.turn.requests_per_second),
            of(|(_, plain)| plain.turn.requests_per_second),
            ratio,
            of(|(profiled, plain)| profiled.turn.p99_ms / plain.turn.p99_ms),
            of(|(profiled, _)| profiled.processor_us),
            of(|(_, plain)| plain.processor_us),
            of(|(profiled, plain)| profiled.processor_us / plain.processor_us),
            match within {
                true => format!("goal >= {GOAL}: ok"),
                false => format!("goal >= {GOAL}: MISSED"),
            },
        );
        within
    }

    /// What the requests have left behind, as the profiled server says.
    fn growth(&self) -> Result<String> {
        let url = format!("{}/debug/requests?format=json", self.profiled.admin);
        let requests = http::json(&url)?;
        let growth = requests.get("growth").context("no growth is shown")?;
        let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64);
        let lines = growth.get("lines").and_then(Value::as_array);
        let lines: Vec<String> = lines
            .into_iter()
            .flatten()
            .filter_map(|line| {
                let location = line.get("location")?.as_str()?;
                let bytes = number(line, "bytes_per_request")?;
                Some(format!("{bytes:+.1} at {location}"))
            })
            .take(3)
            .collect();
        let linear = number(growth, "linear_memory_bytes_per_request");
        Ok(format!(
            "{} requests; bytes per request: {}; of linear memory: {:+.1}",
            requests.get("requests").unwrap_or(&Value::Null),
            match number(growth, "bytes_per_request") {
                None => "not measured".to_owned(),
                Some(bytes) if lines.is_empty() => format!("{bytes:+.1}"),
                Some(_) => lines.join(", "),
            },
            linear.context("no growth of linear memory is shown")?,
        ))
    }
}

impl Server {
    fn start(
        workspace: &Workspace,
        component: &Path,
        path: &str,
        options: &[&str],
    ) -> Result<Self> {
        let address = free_address()?;
        let admin = free_address()?;
        fs::create_dir_all(workspace.scratch()).context("cannot create the scratch folder")?;
        let log = workspace.scratch().join("bench-serve.log");
        let mut command = on_core(Core::First, &workspace.target().join("release/guest-heap"));
        command
            .arg("serve")
            .arg(component)
            .args(["--addr", &address, "--admin-addr", &admin])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).context("cannot write the log")?);
        let mut server = Self {
            child: command.spawn().context("cannot start guest-heap serve")?,
            service: format!("http://{address}"),
            admin: format!("http://{admin}"),
        };
        let what = format!("guest-heap serve does not answer, see {}", log.display());
        wait_for(&what, START_TIMEOUT, POLL_INTERVAL, || {
            let ended = server.child.try_wait().context("cannot ask the server")?;
            match ended {
                Some(_) => Ok(Err(anyhow::anyhow!("{}", fs::read_to_string(&log)?))),
                None => http::text(&format!("{}{path}", server.service)).map(Ok),
            }
        })??;
        Ok(server)
    }

    fn measure(&self, wrk: &Path, path: &str, args: &Args) -> Result<Load> {
        let before = self.processor_seconds()?;
        let load = wrk::command(
            wrk,
            args.connections,
            Duration::from_secs(args.seconds.into()),
        );
        let mut command = on_core(Core::Others, wrk);
        command.args(load.get_args());
        let output = command
            .arg(format!("{}{path}", self.service))
            .output()
            .context("cannot start wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk: {text}");
        let turn = wrk::parse_report(&text).with_context(|| text.clone().into_owned())?;
        let seconds = self.processor_seconds()? - before;
        Ok(Load {
            turn,
            processor_us: seconds * 1e6 / turn.requests.max(1) as f64,
        })
    }

    /// Processor time of the process until now, with that of the kernel.
    fn processor_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).context("cannot read /proc")?;
        parse_ticks(&stat)
            .map(|ticks| ticks / TICKS_PER_SECOND)
            .with_context(|| format!("{path} has no processor time"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// `utime` and `stime` of `/proc/PID/stat`. The name before them can contain spaces.
fn parse_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

/// An address on which nothing listens now.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.to_string())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Core {
    First,
    Others,
}

/// A command that runs on some of the cores; on all of them if there is only one, or if `taskset`
/// is missing.
fn on_core(core: Core, program: &Path) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Ok(taskset) = on_path("taskset") else {
        return Command::new(program);
    };
    if cores < 2 {
        return Command::new(program);
    }
    let mut command = Command::new(taskset);
    command.arg("--cpu-list");
    match core {
        Core::First => command.arg("0"),
        Core::Others => command.arg(format!("1-{}", cores - 1)),
    };
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_after_a_name_with_spaces() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 99 0 0";
        assert_eq!(parse_ticks(stat), Some(300.0));
        assert_eq!(parse_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_free_address_can_be_bound() {
        let address = free_address().unwrap();
        assert!(TcpListener::bind(&address).is_ok());
    }
}
