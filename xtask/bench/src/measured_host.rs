//! A host under measurement: started, read from outside, and stopped.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask_support::host_process::{self, HostProcess, Output};
use xtask_support::http;
use xtask_support::workspace::Workspace;

/// A host that runs.
#[derive(Debug)]
pub(crate) struct MeasuredHost {
    process: HostProcess,
    /// The base URL.
    pub(crate) base: String,
    /// From the start of the process to the first successful health check.
    pub(crate) start_time: Duration,
}

/// The command of the workspace's host on a free port.
pub(crate) fn command(workspace: &Workspace, components: &Path) -> Command {
    let mut command = host_process::command(workspace);
    host_process::on_free_port(&mut command, components);
    command
}

impl MeasuredHost {
    /// Starts a host and waits until it is healthy.
    ///
    /// # Errors
    /// When it is not healthy within `limit`.
    pub(crate) fn start(command: &mut Command, limit: Duration) -> Result<Self> {
        let started = Instant::now();
        let mut process = HostProcess::start(command, Output::Hidden)?;
        let base = process.wait_until_healthy(limit)?;
        Ok(Self {
            start_time: started.elapsed(),
            process,
            base,
        })
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    /// When it does not end cleanly.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.stop()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The full URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        http::json(&self.url(path))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        http::post(&self.url(path), body)
    }

    /// Changes settings of a leak.
    pub(crate) fn set_leak(&self, leak: &str, settings: &Value) -> Result<()> {
        self.post(&format!("/admin/leaks/{leak}"), settings)?;
        Ok(())
    }

    /// Replaces a plugin's instance by a new one.
    pub(crate) fn reset_leak(&self, leak: &str) -> Result<()> {
        self.post(&format!("/admin/leaks/{leak}/reset"), &json!({}))?;
        Ok(())
    }

    /// Resident memory in MiB, read from the kernel.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        resident_mb(self.pid())
    }

    /// Threads, files, mappings and tasks.
    pub(crate) fn resources(&self) -> Result<Resources> {
        let pid = self.pid();
        let entries = |of: &str| -> Result<i64> {
            let folder = format!("/proc/{pid}/{of}");
            Ok(fs::read_dir(&folder).context(folder)?.count() as i64)
        };
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).context("cannot read /proc")?;
        let metrics = http::text(&self.url("/metrics"))?;
        Ok(Resources {
            threads: entries("task")?,
            files: entries("fd")?,
            mappings: maps.lines().count() as i64,
            // Without the task that answers this request.
            tasks: parse_gauge(&metrics, "leak_host_tasks").context("no leak_host_tasks")? - 1,
        })
    }
}

/// The resources of a host other than memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Threads that the kernel counts.
    pub(crate) threads: i64,
    /// Open files that the kernel counts.
    pub(crate) files: i64,
    /// Memory mappings that the kernel counts.
    pub(crate) mappings: i64,
    /// Tasks of its runtime, which only the host itself can count.
    pub(crate) tasks: i64,
}

impl Resources {
    /// The smaller of each number.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            threads: self.threads.min(other.threads),
            files: self.files.min(other.files),
            mappings: self.mappings.min(other.mappings),
            tasks: self.tasks.min(other.tasks),
        }
    }
}

/// The same component with another id of the same length, so that no offset in the file changes.
pub(crate) fn renamed(component: &[u8], id: &str, new_id: &str) -> Result<Vec<u8>> {
    ensure!(
        id.len() == new_id.len(),
        "{id:?} and {new_id:?} differ in length"
    );
    let mut bytes = component.to_vec();
    let mut at = 0;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.windows(id.len()).position(|w| w == id.as_bytes()))
    {
        at += found;
        if let Some(place) = bytes.get_mut(at..at + id.len()) {
            place.copy_from_slice(new_id.as_bytes());
        }
        at += id.len();
    }
    Ok(bytes)
}

/// Makes the folder, or removes everything in it.
pub(crate) fn empty_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("cannot read /proc")?;
    parse_resident_kib(&status)
        .map(|kib| kib / 1024.0)
        .context("/proc names no VmRSS")
}

fn parse_gauge(page: &str, name: &str) -> Option<i64> {
    let mut values = page.lines().filter_map(|line| line.strip_prefix(name));
    values.find_map(|value| value.strip_prefix(' ')?.parse().ok())
}

fn parse_resident_kib(status: &str) -> Option<f64> {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_proc() {
        let status = "Name:\tleak-host\nVmPeak:\t  99 kB\nVmRSS:\t   20480 kB\nThreads:\t4\n";
        assert_eq!(parse_resident_kib(status), Some(20480.0));
        assert_eq!(parse_resident_kib("Name:\tkthreadd\n"), None);
        assert!(resident_mb(std::process::id()).unwrap() > 0.5);
    }

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let page = "# TYPE tasks gauge\ntasks_total 7\ntasks 12\n";
        assert_eq!(parse_gauge(page, "tasks"), Some(12));
        assert_eq!(parse_gauge(page, "task"), None);
    }

    #[test]
    fn an_id_is_replaced_everywhere() {
        let bytes = renamed(b"..one.one.on", "one", "two").unwrap();
        assert_eq!(bytes, b"..two.two.on");
        assert!(renamed(b"", "one", "three").is_err());
        assert_eq!(renamed(b"one", "one", "one").unwrap(), b"one");
    }
}
