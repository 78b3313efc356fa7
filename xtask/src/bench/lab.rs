//! A lab to be measured: started, read from outside, and stopped.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::host_process::{HostProcess, is_healthy};
use crate::http;
use crate::workspace::Workspace;

/// Resolution of the start time.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// Starts the host on a free port and waits until it is healthy. Answers with the time that took, and its address.
pub(super) fn start(
    workspace: &Workspace,
    components: &Path,
    cache: &Path,
    more: &[&str],
    give_up_after: Duration,
) -> Result<(HostProcess, Duration, String)> {
    let mut args = vec![
        "--listen".as_ref(),
        "127.0.0.1:0".as_ref(),
        "--plugins".as_ref(),
        components.as_os_str(),
        "--cache".as_ref(),
        cache.as_os_str(),
    ];
    args.extend(more.iter().map(|arg| std::ffi::OsStr::new(*arg)));
    let started = Instant::now();
    let mut host = HostProcess::start(workspace, args, false)?;
    let mut address = None;
    while started.elapsed() < give_up_after {
        if address.is_none() {
            address = host.address();
        }
        if let Some(base) = address.as_ref().filter(|base| is_healthy(base)) {
            return Ok((host, started.elapsed(), base.clone()));
        }
        if let Some(status) = host.exited()? {
            bail!("the host ended before it was healthy: {status}");
        }
        sleep(ASK_EVERY);
    }
    host.signal(Signal::KILL);
    bail!(
        "the host was not healthy within {} s",
        give_up_after.as_secs()
    );
}

/// Stops it; it must end cleanly.
pub(crate) fn stop(host: HostProcess) -> Result<()> {
    host.signal(Signal::TERM);
    let status = host.wait()?;
    if !status.success() {
        bail!("the host did not end cleanly after SIGTERM: {status}");
    }
    Ok(())
}

/// Resident memory in MiB, as the kernel tells it.
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("cannot read /proc")?;
    parse_resident_kib(&status)
        .map(|kib| kib / 1024.0)
        .context("/proc names no VmRSS")
}

/// What a host holds besides memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Threads, by the kernel's account.
    pub(crate) threads: i64,
    /// Open files, by the kernel's account.
    pub(crate) files: i64,
    /// Mappings, by the kernel's account.
    pub(crate) mappings: i64,
    /// Tasks of its runtime, which only the host can tell: the one that answers is not counted.
    pub(crate) tasks: i64,
}

impl Held {
    /// The less of each.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            threads: self.threads.min(other.threads),
            files: self.files.min(other.files),
            mappings: self.mappings.min(other.mappings),
            tasks: self.tasks.min(other.tasks),
        }
    }
}

/// What the host at `base` with this process id holds.
///
/// # Errors
/// When it is gone or does not answer.
pub(crate) fn held(base: &str, pid: u32) -> Result<Held> {
    let entries = |of: &str| -> Result<i64> {
        let folder = format!("/proc/{pid}/{of}");
        Ok(fs::read_dir(&folder).context(folder)?.count() as i64)
    };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).context("cannot read /proc")?;
    Ok(Held {
        threads: entries("task")?,
        files: entries("fd")?,
        mappings: maps.lines().count() as i64,
        tasks: parse_gauge(&http::text(&format!("{base}/metrics"))?, "leak_host_tasks")
            .context("the host does not tell its tasks")?
            - 1,
    })
}

/// The same component under another id of the same length: nothing in the file moves.
pub(super) fn renamed(component: &[u8], id: &str, to: &str) -> Result<Vec<u8>> {
    if id.len() != to.len() {
        bail!("{id:?} and {to:?} differ in length");
    }
    let mut bytes = component.to_vec();
    let mut at = 0;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.windows(id.len()).position(|w| w == id.as_bytes()))
    {
        at += found;
        if let Some(place) = bytes.get_mut(at..at + id.len()) {
            place.copy_from_slice(to.as_bytes());
        }
        at += id.len();
    }
    Ok(bytes)
}

fn parse_gauge(page: &str, name: &str) -> Option<i64> {
    let mut values = page.lines().filter_map(|line| line.strip_prefix(name));
    values.find_map(|value| value.strip_prefix(' ')?.parse().ok())
}

fn parse_resident_kib(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernels_text() {
        let status = "Name:\tleak-host\nVmPeak:\t  99 kB\nVmRSS:\t   20480 kB\nThreads:\t4\n";
        assert_eq!(parse_resident_kib(status), Some(20480.0));
        assert_eq!(parse_resident_kib("Name:\tkthreadd\n"), None);
        assert!(resident_mb(std::process::id()).unwrap() > 0.5);
    }

    #[test]
    fn a_gauge_is_read_by_its_whole_name() {
        let page = "# TYPE tasks gauge\ntasks_total 7\ntasks 12\n";
        assert_eq!(parse_gauge(page, "tasks"), Some(12));
        assert_eq!(parse_gauge(page, "task"), None);
    }

    #[test]
    fn a_name_is_exchanged_wherever_it_stands() {
        let renamed = renamed(b"..one.one.on", "one", "two").unwrap();
        assert_eq!(renamed, b"..two.two.on");
        assert!(super::renamed(b"", "one", "three").is_err());
        assert_eq!(super::renamed(b"one", "one", "one").unwrap(), b"one");
    }
}
