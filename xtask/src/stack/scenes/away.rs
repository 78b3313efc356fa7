//! A collector that goes away under load must cost no request anything, and next to no memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::report::Report;
use super::super::service::Service;
use super::Stage;

/// In seconds.
const LOAD: u64 = 60;
const RATE: &str = "100";

/// The collector goes this long after the load began.
const GOES_AFTER: Duration = Duration::from_secs(5);

/// What the service may grow by: its bounded queue of spans, and noise.
const GROWTH_BYTES: u64 = 8 << 20;

pub(super) fn play(stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    println!("\na collector that goes away");
    let Some(k6) = &stage.k6 else {
        report.skip("collector away", &anyhow::anyhow!("there is no k6"));
        return Ok(());
    };
    let Ok(program) = &stage.programs.collector else {
        report.skip("collector away", &anyhow::anyhow!("there is no collector"));
        return Ok(());
    };
    let addresses = stage.lab.addresses;
    let base = addresses.service_url();
    let run = stage.lab.run.clone();
    let mut service = Service::start(stage.files, addresses, &run, &[])?;
    let environment = [("RATE", RATE), ("DURATION", "20s")];
    let mut baseline = |name| k6.run(name, "baseline.js", &base, &environment, &run, &mut service);
    // The exporter's buffers grow to the size of a batch at this rate, and stay so.
    let _warm_up = baseline("k6-warm-up")?;
    report.check("baseline with the collector", || {
        let outcome = baseline("k6-baseline")?;
        ensure!(outcome.kept, "{outcome:?}");
        Ok(format!("{} requests, memory flat", outcome.requests))
    });

    let before = service.resident_bytes()?;
    let environment = [("RATE", RATE), ("DURATION", &format!("{LOAD}s"))];
    let mut load = k6.start("k6-away", "memory-stress.js", &base, &environment, &run)?;
    std::thread::sleep(GOES_AFTER);
    let logged = service.log()?.len();
    let gone = Instant::now();
    stage.lab.collector = None;
    while load.exited()?.is_none() {
        service.supervise()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = service.resident_bytes()?;
    report.check("no request fails without the collector", || {
        // The script's own thresholds: fewer than one in a hundred fails, p95 below 500 ms. Here none may.
        ensure!(load.exited()? == Some(0), "a threshold was broken");
        let output = load.output()?;
        ensure!(output.contains(", 0.00 % failed"), "{output}");
        Ok(format!("{LOAD} s of load"))
    });
    report.check("memory without the collector", || {
        let growth = after.saturating_sub(before);
        ensure!(growth < GROWTH_BYTES, "it grew by {growth} bytes");
        Ok(format!("grew by {} KiB", growth / 1024))
    });
    report.check("log without the collector", || {
        let log = service.log()?;
        let lines: Vec<&str> = log
            .get(logged..)
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let allowed = 1 + gone.elapsed().as_secs() / 60;
        ensure!(
            lines.len() as u64 <= allowed,
            "{} lines for {allowed}: {:?}",
            lines.len(),
            lines.first()
        );
        Ok(format!(
            "{} lines in {} s",
            lines.len(),
            gone.elapsed().as_secs()
        ))
    });
    stage.lab.start_collector(program)
}
