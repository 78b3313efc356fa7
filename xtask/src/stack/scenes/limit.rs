//! The danger zone: the service reaches its memory limit, dies with exit code 137, and the restart
//! policy brings it back, to die again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::queries::Prometheus;
use super::super::report::Report;
use super::super::service::Service;
use super::Stage;
use crate::plugins::EXERCISES;

/// The containers' limit.
const LIMIT: &str = "256MiB";
const LIMIT_BYTES: f64 = 268_435_456.0;

/// Two deaths make a sawtooth.
const DEATHS: usize = 2;
const DIES_WITHIN: Duration = Duration::from_secs(300);

/// Fast enough for a test; at the text's 50 requests a second it takes six minutes.
const RATE: &str = "500";

pub(super) fn play(stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    println!("\nthe memory limit");
    let Some(k6) = &stage.k6 else {
        report.skip("memory limit", &anyhow::anyhow!("there is no k6"));
        return Ok(());
    };
    let addresses = stage.lab.addresses;
    let run = stage.lab.run.clone();
    // The last scene's service is gone: long enough for a scrape to notice.
    if let Some(prometheus) = &stage.prometheus {
        prometheus.let_scrape();
    }
    let plugins = EXERCISES.join(",");
    let since = stage
        .prometheus
        .as_ref()
        .map(|_| Prometheus::new(addresses.prometheus_url()));
    let mut service = Service::start(
        stage.files,
        addresses,
        &run,
        &["--memory-limit", LIMIT, "--enable", &plugins],
    )?;
    report.check("killed at the limit, and restarted", || {
        let environment = [("RATE", RATE), ("DURATION", "10m"), ("TIMEOUT", "2s")];
        let mut load = k6.start(
            "k6-limit",
            "memory-stress.js",
            &addresses.service_url(),
            &environment,
            &run,
        )?;
        let started = Instant::now();
        let mut deaths = Vec::new();
        while deaths.len() < DEATHS {
            ensure!(
                started.elapsed() < DIES_WITHIN,
                "it lives after {} s, resident {:?}",
                started.elapsed().as_secs(),
                service.resident_bytes()
            );
            if service.supervise()?.is_some() {
                deaths.push(started.elapsed().as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        load.stop();
        service.wait_until_healthy()?;
        ensure!(
            service.exits().iter().all(|&code| code == 137),
            "{:?}",
            service.exits()
        );
        service.get("/api/data")?;
        Ok(format!(
            "exit code 137 after {deaths:?} s, and it answers again"
        ))
    });
    if let Some(prometheus) = since {
        prometheus.let_scrape();
        report.check("sawtooth in Prometheus", || {
            let resident = prometheus.values("process_resident_memory_bytes")?;
            let teeth = teeth(&resident);
            ensure!(
                teeth >= DEATHS,
                "{teeth} teeth in {} readings",
                resident.len()
            );
            let top = resident
                .iter()
                .copied()
                .reduce(f64::max)
                .context("no readings")?;
            Ok(format!(
                "{teeth} teeth, up to {:.0} % of the limit",
                100.0 * top / LIMIT_BYTES
            ))
        });
    }
    Ok(())
}

/// How often memory climbed over 60 % of the limit and then was below 40 %.
fn teeth(resident: &[f64]) -> usize {
    let mut high = false;
    let mut teeth = 0;
    for &bytes in resident {
        if bytes > 0.6 * LIMIT_BYTES {
            high = true;
        } else if high && bytes < 0.4 * LIMIT_BYTES {
            high = false;
            teeth += 1;
        }
    }
    teeth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tooth_is_a_climb_and_a_fall() {
        let of =
            |shares: &[f64]| teeth(&shares.iter().map(|s| s * LIMIT_BYTES).collect::<Vec<_>>());
        assert_eq!(of(&[0.1, 0.5, 0.9, 0.1, 0.4, 0.95, 0.1]), 2);
        assert_eq!(of(&[0.1, 0.5, 0.9, 0.9]), 0, "it has not fallen");
        assert_eq!(of(&[0.1, 0.5, 0.1, 0.5]), 0, "it never came near");
    }
}
