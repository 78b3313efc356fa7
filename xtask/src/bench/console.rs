//! What an open console costs the host: nothing while none is open, little for one, and no leak for many.
//!
//! A page is what the host sees of it: one stream that is read to the end of each frame. What a browser does with the
//! frames is the browser's own affair.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Measurement;
use super::lab::{resident_mb, start, stop};
use crate::progress;
use crate::workspace::Workspace;

/// A host that is not healthy within this has failed.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Processor time of one open page, in percent of a core.
const PAGE_LIMIT_PERCENT: f64 = 1.0;
/// Memory of one open page, in MiB.
const PAGE_LIMIT_MB: f64 = 2.0;
/// What many pages may leave behind when they are closed, in MiB: the allocator keeps some pages.
const LEFT_LIMIT_MB: f64 = 4.0;
/// Ticks of the kernel's clock in a second, for all Linux that the lab runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Arguments of `cargo xtask bench console`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds without a page, and then with one.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds with many pages.
    #[arg(long, default_value_t = 120)]
    many_seconds: u64,
    /// How many pages are many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=64))]
    many: u64,
}

/// Pages that are read until they are dropped.
struct Pages {
    closing: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    readers: Vec<JoinHandle<()>>,
}

impl Pages {
    fn open(address: &str, count: u64) -> Result<Self> {
        let mut pages = Pages {
            closing: Arc::default(),
            received: Arc::default(),
            readers: Vec::new(),
        };
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).context("the host does not answer")?;
            stream.set_read_timeout(Some(Duration::from_millis(200)))?;
            write!(
                stream,
                "GET /console/events HTTP/1.1\r\nHost: {address}\r\n\r\n"
            )?;
            let (closing, received) = (pages.closing.clone(), pages.received.clone());
            pages
                .readers
                .push(thread::spawn(move || drain(stream, &closing, &received)));
        }
        Ok(pages)
    }

    /// Closes them; answers how many bytes they got.
    fn close(self) -> u64 {
        self.closing.store(true, Ordering::Relaxed);
        for reader in self.readers {
            // A reader that panicked has said so.
            let _panicked = reader.join();
        }
        self.received.load(Ordering::Relaxed)
    }
}

fn drain(mut stream: TcpStream, closing: &AtomicBool, received: &AtomicU64) {
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

/// Measures with the shipped plugins, each of them leaking a little, so that every chart is drawn.
pub(super) fn measure(workspace: &Workspace, args: &Args) -> Result<Vec<Measurement>> {
    let cache = workspace.scratch().join("bench-console");
    let (host, _, base) = start(
        workspace,
        &workspace.components(),
        &cache,
        &[],
        START_WITHIN,
    )?;
    let pid = host.pid();
    let address = base.trim_start_matches("http://").to_owned();
    prepare(&base)?;

    progress::announce(format_args!("no page open, {} s", args.seconds));
    sleep(Duration::from_secs(5));
    let none = cpu_percent(pid, args.seconds)?;
    let before = resident_mb(pid)?;

    progress::announce(format_args!("one page, {} s", args.seconds));
    let page = Pages::open(&address, 1)?;
    sleep(Duration::from_secs(3));
    let one = cpu_percent(pid, args.seconds)?;
    let with_one = resident_mb(pid)?;
    let received = page.close();
    ensure!(received > 0, "the page got nothing");

    progress::announce(format_args!("{} pages, {} s", args.many, args.many_seconds));
    let pages = Pages::open(&address, args.many)?;
    sleep(Duration::from_secs(5));
    let early = resident_mb(pid)?;
    let many = cpu_percent(pid, args.many_seconds)?;
    let late = resident_mb(pid)?;
    let frames = pages.close();
    sleep(Duration::from_secs(5));
    let closed = resident_mb(pid)?;
    let none_again = cpu_percent(pid, args.seconds)?;
    stop(host)?;

    let number = |what, value, unit, limit| Measurement {
        what,
        value,
        unit,
        limit,
    };
    let per_page = 1024.0 * 1024.0 * args.many as f64 * args.many_seconds as f64;
    Ok(vec![
        number("no page: processor", none, "% of a core", None),
        number(
            "one page: processor, more than none",
            one - none,
            "% of a core",
            Some(PAGE_LIMIT_PERCENT),
        ),
        number(
            "one page: resident memory, more than none",
            with_one - before,
            "MB",
            Some(PAGE_LIMIT_MB),
        ),
        number("many pages: processor, in all", many, "% of a core", None),
        number(
            "many pages: resident memory, each",
            (late - before) / args.many as f64,
            "MB",
            Some(PAGE_LIMIT_MB),
        ),
        number(
            "many pages: growth from the first seconds to the last",
            late - early,
            "MB",
            Some(LEFT_LIMIT_MB),
        ),
        number(
            "many pages: sent to each",
            frames as f64 / per_page * 1024.0,
            "KiB/s",
            None,
        ),
        number(
            "all closed: resident memory, more than before",
            closed - before,
            "MB",
            Some(LEFT_LIMIT_MB),
        ),
        number("all closed: processor", none_again, "% of a core", None),
    ])
}

fn prepare(base: &str) -> Result<()> {
    for leak in ["cache", "history", "listeners"] {
        ureq::post(format!("{base}/admin/leaks/{leak}"))
            .send(r#"{"enabled": true}"#)
            .with_context(|| format!("{leak} cannot be switched on"))?;
    }
    for _ in 0..200 {
        ureq::get(format!("{base}/api/data"))
            .call()
            .context("no data")?;
    }
    Ok(())
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

/// `utime` and `stime`, fields 14 and 15 of proc_pid_stat(5); the name before them may hold anything.
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
    fn processor_time_is_read_whatever_the_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0";
        assert_eq!(parse_cpu_ticks(stat), Some(150.0));
        assert_eq!(parse_cpu_ticks("7 (x) S 1"), None);
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
    }
}
