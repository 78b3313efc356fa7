//! One row of the table: something hostile, what other clients notice of it, and what is left.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use xtask_support::http::Client;

use crate::clients::{Clients, IdleServer};

/// The longest that `/health` may take for 99 of 100 requests, beyond what a server that does
/// nothing takes at the same time.
const MAX_HEALTH: Duration = Duration::from_millis(50);

/// The same for `/api/data`: the deadline of a plugin, and the wait for its queue.
const MAX_DATA: Duration = Duration::from_millis(250 + 50 + 50);

/// Of this many requests of the other clients one may fail.
const REQUESTS_PER_FAILURE: usize = 1000;

/// What may be left in the host's resident memory, in bytes.
pub(crate) const MAX_LEFT: u64 = 2 << 20;

/// How long memory may take to be given back. A thread that waits for work ends after 10 seconds,
/// and the system needs seconds for gigabytes when it is busy.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two readings of resident memory.
const SETTLE_INTERVAL: Duration = Duration::from_millis(250);

/// The host that everything is tried on.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) base: String,
    pub(crate) pid: u32,
    /// Its plugins folder.
    pub(crate) plugins: PathBuf,
    /// Its cache folder.
    pub(crate) cache: PathBuf,
    /// The limit of its cache, in bytes.
    pub(crate) cache_bytes: u64,
    pub(crate) idle: IdleServer,
    pub(crate) admin: Client,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: String,
    pub(crate) health: Duration,
    pub(crate) data: Duration,
    pub(crate) before: u64,
    pub(crate) after: u64,
    /// What does not hold.
    pub(crate) wrong: Vec<String>,
}

impl Target {
    /// Tries something, while other clients send requests. `act` returns the outcome, which is one
    /// of those that are `expected`.
    pub(crate) fn try_row(
        &self,
        name: &str,
        expected: &[String],
        act: impl FnOnce(&Self) -> Result<String>,
    ) -> Result<Row> {
        self.give_back()?;
        let before = resident_bytes(self.pid)?;
        let clients = Clients::start(&self.base, &self.idle, 1);
        let outcome = act(self);
        let times = clients.stop()?;
        let outcome = outcome.with_context(|| name.to_owned())?;
        let after = self.settle(before + MAX_LEFT)?;
        let mut wrong = Vec::new();
        if !expected.contains(&outcome) {
            wrong.push(format!("expected {}", expected.join(" or ")));
        }
        if times.health > MAX_HEALTH + times.idle {
            let idle = times.idle.as_millis();
            wrong.push(format!("/health is slow (an idle server: {idle} ms)"));
        }
        if times.data > MAX_DATA + times.idle {
            let idle = times.idle.as_millis();
            wrong.push(format!("/api/data is slow (an idle server: {idle} ms)"));
        }
        if times.failed * REQUESTS_PER_FAILURE > times.requests {
            wrong.push(format!(
                "{} of {} requests failed",
                times.failed, times.requests
            ));
        }
        if after > before + MAX_LEFT {
            wrong.push("memory is left".to_owned());
        }
        Ok(Row {
            name: name.to_owned(),
            outcome,
            health: times.health,
            data: times.data,
            before,
            after,
            wrong,
        })
    }

    /// Returns the free pages of the host's allocator: the other clients' requests leave some too.
    pub(crate) fn give_back(&self) -> Result<()> {
        self.admin
            .post(&format!("{}/admin/gc", self.base), &json!({}))?;
        Ok(())
    }

    /// Waits until the host has at most `wanted` bytes of resident memory, and returns what it has.
    pub(crate) fn settle(&self, wanted: u64) -> Result<u64> {
        let until = Instant::now() + SETTLE_TIMEOUT;
        loop {
            self.give_back()?;
            let resident = resident_bytes(self.pid)?;
            if resident <= wanted || Instant::now() >= until {
                return Ok(resident);
            }
            std::thread::sleep(SETTLE_INTERVAL);
        }
    }
}

/// The resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? * 1024)
}

/// Prints the head of the table.
pub(crate) fn print_head() {
    println!(
        "{:24} {:34} {:>10} {:>10} {:>9} {:>9}  verdict",
        "input", "outcome", "health p99", "data p99", "RSS MiB", "after"
    );
}

impl Row {
    pub(crate) fn print(&self) {
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        let verdict = if self.wrong.is_empty() {
            "ok".to_owned()
        } else {
            format!("FAILED: {}", self.wrong.join(", "))
        };
        let outcome: String = self.outcome.chars().take(34).collect();
        println!(
            "{:24} {outcome:34} {:>7} ms {:>7} ms {:>9.1} {:>9.1}  {verdict}",
            self.name,
            self.health.as_millis(),
            self.data.as_millis(),
            mebibytes(self.before),
            mebibytes(self.after),
        );
    }
}
