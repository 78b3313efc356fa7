//! The cost of an open console to the host: none while no page is open, little for one page, and
//! no leak for many.
//!
//! Here a page is one event stream that is read continuously. What a browser does with the updates
//! is not the host's cost.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use xtask_support::components::EXERCISES;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use crate::measured_host::{self, MeasuredHost};
use crate::measurement::Measurement;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Processor time of one open page, in percent of a core.
const MAX_PAGE_PERCENT: f64 = 1.0;
/// Memory of one open page, in MiB.
const MAX_PAGE_MB: f64 = 2.0;
/// Memory that many pages may leave behind when they are closed, in MiB: the allocator keeps some.
const MAX_LEFT_MB: f64 = 4.0;
/// Ticks of the kernel's clock in a second, on every Linux that the lab runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Requests with every leak on, so that every chart has a line.
const REQUESTS: usize = 200;

/// Arguments of `cargo xtask bench console`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds without a page, and then with one.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds with many pages.
    #[arg(long, default_value_t = 120)]
    many_seconds: u64,
    /// Pages to open in the second measurement.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=64))]
    many: u64,
}

/// Open event streams, each read by a thread of its own.
struct Pages {
    closing: Arc<AtomicBool>,
    received_bytes: Arc<AtomicU64>,
    readers: Vec<JoinHandle<()>>,
}

impl Pages {
    fn open(address: &str, count: u64) -> Result<Self> {
        let mut pages = Pages {
            closing: Arc::default(),
            received_bytes: Arc::default(),
            readers: Vec::new(),
        };
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).context("the host does not answer")?;
            stream.set_read_timeout(Some(Duration::from_millis(200)))?;
            write!(
                stream,
                "GET /console/events HTTP/1.1\r\nHost: {address}\r\n\r\n"
            )?;
            let (closing, received) = (pages.closing.clone(), pages.received_bytes.clone());
            let reader = thread::spawn(move || read_all(stream, &closing, &received));
            pages.readers.push(reader);
        }
        Ok(pages)
    }

    /// Closes them and returns how many bytes they received together.
    fn close(self) -> u64 {
        self.closing.store(true, Ordering::Relaxed);
        for reader in self.readers {
            // A panic has been printed.
            let _panicked = reader.join();
        }
        self.received_bytes.load(Ordering::Relaxed)
    }
}

fn read_all(mut stream: TcpStream, closing: &AtomicBool, received: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while !closing.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(bytes) => drop(received.fetch_add(bytes as u64, Ordering::Relaxed)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// Measures with the shipped plugins, three of them leaking a little.
pub(crate) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    let mut command = measured_host::command(workspace, &workspace.components());
    command
        .arg("--cache")
        .arg(workspace.scratch().join("bench-console"));
    let host = MeasuredHost::start(&mut command, START_TIMEOUT)?;
    let address = host.base.trim_start_matches("http://");
    for leak in EXERCISES {
        host.set_leak(leak, &json!({ "enabled": true }))?;
    }
    for _ in 0..REQUESTS {
        host.get("/api/data")?;
    }

    report::announce(format_args!("no page open, {} s", args.seconds));
    sleep(Duration::from_secs(5));
    let none = cpu_percent(host.pid(), args.seconds)?;
    let before = host.resident_mb()?;

    report::announce(format_args!("one page, {} s", args.seconds));
    let page = Pages::open(address, 1)?;
    sleep(Duration::from_secs(3));
    let one = cpu_percent(host.pid(), args.seconds)?;
    let with_one = host.resident_mb()?;
    ensure!(page.close() > 0, "the page received nothing");

    report::announce(format_args!("{} pages, {} s", args.many, args.many_seconds));
    let pages = Pages::open(address, args.many)?;
    sleep(Duration::from_secs(5));
    let early = host.resident_mb()?;
    let many = cpu_percent(host.pid(), args.many_seconds)?;
    let late = host.resident_mb()?;
    let received = pages.close();
    sleep(Duration::from_secs(5));
    let closed = host.resident_mb()?;
    let none_again = cpu_percent(host.pid(), args.seconds)?;
    host.stop()?;

    let (shown, limited) = (Measurement::shown, Measurement::limited);
    let percent = "% of a core";
    let page_seconds = args.many as f64 * args.many_seconds as f64;
    Ok(vec![
        shown("no page: processor", none, percent),
        limited(
            "one page: processor, more than none",
            one - none,
            percent,
            MAX_PAGE_PERCENT,
        ),
        limited(
            "one page: resident memory, more than none",
            with_one - before,
            "MB",
            MAX_PAGE_MB,
        ),
        shown("many pages: processor, in all", many, percent),
        limited(
            "many pages: resident memory, each",
            (late - before) / args.many as f64,
            "MB",
            MAX_PAGE_MB,
        ),
        limited(
            "many pages: growth from the first seconds to the last",
            late - early,
            "MB",
            MAX_LEFT_MB,
        ),
        shown(
            "many pages: sent to each",
            received as f64 / page_seconds / 1024.0,
            "KiB/s",
        ),
        limited(
            "all closed: resident memory, more than before",
            closed - before,
            "MB",
            MAX_LEFT_MB,
        ),
        shown("all closed: processor", none_again, percent),
    ])
}

/// Processor time of all threads over some seconds, in percent of a core.
fn cpu_percent(pid: u32, seconds: u64) -> Result<f64> {
    let (before, started) = (cpu_seconds(pid)?, Instant::now());
    sleep(Duration::from_secs(seconds));
    Ok((cpu_seconds(pid)? - before) / started.elapsed().as_secs_f64() * 100.0)
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("cannot read /proc")?;
    parse_cpu_ticks(&stat)
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .context("/proc names no processor time")
}

/// `utime` and `stime`, fields 14 and 15 of proc_pid_stat(5). The name before them may contain any
/// character.
fn parse_cpu_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, kernel): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_after_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0";
        assert_eq!(parse_cpu_ticks(stat), Some(150.0));
        assert_eq!(parse_cpu_ticks("7 (x) S 1"), None);
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
    }
}
