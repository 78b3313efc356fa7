//! `cargo xtask test-hostile --soak MINUTES`: hostile uploads, restarts of plugins and load at
//! once. At the end the host is as large as it was, and no request has failed.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::clients::Clients;
use crate::inputs::Input;
use crate::rows::{Target, resident_bytes};
use crate::uploads;

/// Clients of `/api/data`.
const DATA_CLIENTS: usize = 4;

/// What may be left in the host's resident memory, in bytes. Its histories grow for 15 minutes.
const MAX_LEFT: u64 = 4 << 20;

/// The longest that `/health` may take for 99 of 100 requests, beyond what a server that does
/// nothing takes at the same time.
const MAX_HEALTH: Duration = Duration::from_millis(50);

/// Plugins that are restarted in turn.
const RESTARTED: [&str; 3] = ["cache", "history", "listeners"];

/// Whether everything holds.
pub(crate) fn run(target: &Target, inputs: &[Input], time: Duration) -> Result<bool> {
    target.give_back()?;
    let before = resident_bytes(target.pid)?;
    let clients = Clients::start(&target.base, &target.idle, DATA_CLIENTS);
    let (mut uploads, mut restarts, mut failed_changes, mut largest) = (0, 0, 0, before);
    let until = Instant::now() + time;
    let mut turns = inputs.iter().cycle();
    while Instant::now() < until {
        let Some(input) = turns.next() else { break };
        failed_changes += usize::from(uploads::upload(target, input).is_err());
        uploads += 1;
        for plugin in RESTARTED {
            let base = &target.base;
            for path in [
                format!("{base}/admin/leaks/{plugin}/reset"),
                format!("{base}/admin/plugins/{plugin}/reload"),
            ] {
                failed_changes += usize::from(target.admin.post(&path, &json!({})).is_err());
                restarts += 1;
            }
        }
        largest = largest.max(resident_bytes(target.pid)?);
    }
    let times = clients.stop()?;
    let after = target.settle(before + MAX_LEFT)?;
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let holds = times.failed * 1000 <= times.requests
        && failed_changes == 0
        && after <= before + MAX_LEFT
        && times.health <= MAX_HEALTH + times.idle;
    println!(
        "{:.1} minutes: {uploads} hostile uploads, {restarts} restarts, {failed_changes} of them \
         failed; {} requests, {} failed; /health p99 {} ms, /api/data p99 {} ms, an idle server {} \
         ms; RSS {:.1} MiB at the start, {:.1} at most, {:.1} at the end: {}",
        time.as_secs_f64() / 60.0,
        times.requests,
        times.failed,
        times.health.as_millis(),
        times.data.as_millis(),
        times.idle.as_millis(),
        mebibytes(before),
        mebibytes(largest),
        mebibytes(after),
        if holds { "ok" } else { "FAILED" }
    );
    Ok(holds)
}
