//! A collector that stops under load must not fail or delay requests, and must cost little memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use xtask_support::report::Report;

use super::TestBed;
use crate::service::Service;

const LOAD_SECONDS: u64 = 60;

/// Requests a second.
const RATE: &str = "100";

/// From the start of the load to the end of the collector.
const OUTAGE_AFTER: Duration = Duration::from_secs(5);

/// Growth of the service: its bounded queue of spans, and noise.
const MAX_GROWTH_BYTES: u64 = 8 << 20;

pub(super) fn run(bed: &mut TestBed<'_>, report: &mut Report) -> Result<()> {
    println!("\na collector that stops");
    let Some(k6) = &bed.k6 else {
        report.skip("collector outage", "there is no k6");
        return Ok(());
    };
    let Ok(program) = &bed.programs.collector else {
        report.skip("collector outage", "there is no collector");
        return Ok(());
    };
    let addresses = bed.stack.addresses;
    let base = addresses.service_url();
    let run = bed.stack.run.clone();
    let mut service = Service::start(bed.files, addresses, &run, &[])?;
    let environment = [("RATE", RATE), ("DURATION", "20s")];
    let mut baseline = |name| k6.run(name, "baseline.js", &base, &environment, &run, &mut service);
    // The exporter's buffers grow once, to the size of a batch at this rate.
    let _warm_up = baseline("k6-warm-up")?;
    report.check("baseline with the collector", || {
        let load = baseline("k6-baseline")?;
        ensure!(load.thresholds_met, "{load:?}");
        Ok(format!("{} requests, memory flat", load.requests))
    });

    let before = service.resident_bytes()?;
    let environment = [("RATE", RATE), ("DURATION", &format!("{LOAD_SECONDS}s"))];
    let mut load = k6.start("k6-outage", "memory-stress.js", &base, &environment, &run)?;
    std::thread::sleep(OUTAGE_AFTER);
    let logged = service.log()?.len();
    let stopped = Instant::now();
    bed.stack.collector = None;
    while load.exited()?.is_none() {
        service.supervise()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = service.resident_bytes()?;
    report.check("no request fails without the collector", || {
        // The script's thresholds are less than 1 % failed and p95 below 500 ms. Here none may
        // fail.
        ensure!(load.exited()? == Some(0), "a threshold was broken");
        let output = load.output()?;
        ensure!(output.contains(", 0.00 % failed"), "{output}");
        Ok(format!("{LOAD_SECONDS} s of load"))
    });
    report.check("memory without the collector", || {
        let growth = after.saturating_sub(before);
        ensure!(growth < MAX_GROWTH_BYTES, "it grew by {growth} bytes");
        Ok(format!("grew by {} KiB", growth / 1024))
    });
    report.check("log without the collector", || {
        let log = service.log()?;
        let lines = log.get(logged..).unwrap_or_default().lines();
        // Alerts of the scenarios before may end during this one, and are logged.
        let is_alert = |line: &str| line.contains("alert_store: alert resolved");
        let lines: Vec<&str> = lines
            .filter(|line| !line.trim().is_empty() && !is_alert(line))
            .collect();
        let allowed = 1 + stopped.elapsed().as_secs() / 60;
        ensure!(
            lines.len() as u64 <= allowed,
            "{} lines for {allowed}: {:?}",
            lines.len(),
            lines.first()
        );
        Ok(format!(
            "{} lines in {} s",
            lines.len(),
            stopped.elapsed().as_secs()
        ))
    });
    bed.stack.start_collector(program)
}
