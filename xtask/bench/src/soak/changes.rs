//! Random administration under load: leaks are switched, cleared, reset, fixed, reloaded and
//! collected. No request and no change may fail, and afterwards every request is counted exactly.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xtask_support::components::EXERCISES;
use xtask_support::report;

use super::LoadSource;
use crate::measured_host::MeasuredHost;

/// Requests at the end, one by one, that must be counted exactly.
const COUNTED_REQUESTS: u64 = 100;

/// Between two changes.
const PAUSE: Duration = Duration::from_millis(20);

/// False when a request is not counted.
pub(super) fn run(
    host: MeasuredHost,
    load: &LoadSource,
    time: Duration,
    seed: u64,
) -> Result<bool> {
    report::announce(format_args!(
        "random changes: {:.1} minutes",
        time.as_secs_f64() / 60.0
    ));
    let running = load.start(&host.base, time)?;
    let started = Instant::now();
    let mut random = Random::new(seed);
    let mut changes = 0_u64;
    while started.elapsed() < time {
        change(&host, &mut random).context("a change failed")?;
        changes += 1;
        sleep(PAUSE);
    }
    let requests = running.finish()?;

    host.post("/admin/reset", &json!({}))?;
    for leak in EXERCISES {
        host.set_leak(leak, &json!({ "enabled": true }))?;
    }
    for _ in 0..COUNTED_REQUESTS {
        host.get("/api/data")?;
    }
    let status = host.get("/admin/leaks/status?all=true")?;
    let exact = EXERCISES.iter().all(|leak| {
        let count = status.pointer(&format!("/leaks/{leak}/count"));
        count.and_then(Value::as_u64) == Some(COUNTED_REQUESTS)
    });
    println!(
        "random changes: {requests} requests, {changes} changes, none failed; \
         afterwards each of {COUNTED_REQUESTS} requests counted: {}",
        if exact { "ok" } else { "WRONG" }
    );
    host.stop()?;
    Ok(exact)
}

/// One change of a kind that an instructor makes.
fn change(host: &MeasuredHost, random: &mut Random) -> Result<()> {
    let index = random.below(EXERCISES.len() as u64) as usize;
    let leak = EXERCISES.get(index).copied().unwrap_or("cache");
    let (path, body) = match random.below(9) {
        0 => (
            "/admin/leaks/clear".to_owned(),
            json!({ "leak_type": leak }),
        ),
        1 => ("/admin/leaks/clear".to_owned(), json!({})),
        2 => (format!("/admin/leaks/{leak}/reset"), json!({})),
        3 => ("/admin/gc".to_owned(), json!({})),
        4 => (
            format!("/admin/leaks/{leak}"),
            json!({ "variant": "fixed" }),
        ),
        5 => (
            format!("/admin/leaks/{leak}"),
            json!({ "variant": "leaky", "payload_bytes": 64 }),
        ),
        6 => (format!("/admin/leaks/{leak}"), json!({ "enabled": false })),
        7 => (format!("/admin/plugins/{leak}/reload"), json!({})),
        _ => (
            format!("/admin/leaks/{leak}"),
            json!({ "enabled": true, "max_mb": 16 }),
        ),
    };
    host.post(&path, &body)?;
    Ok(())
}

/// Xorshift: no result depends on the quality of the numbers.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_reach_all_of_their_range() {
        let mut random = Random::new(0);
        let mut seen = [false; 8];
        for _ in 0..1000 {
            seen[random.below(8) as usize] = true;
        }
        assert_eq!(seen, [true; 8]);
    }
}
