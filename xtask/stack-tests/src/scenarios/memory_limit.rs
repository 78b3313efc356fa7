//! The service reaches its memory limit, ends with exit code 137, is restarted by the policy, and
//! reaches the limit again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use xtask_support::components::EXERCISES;
use xtask_support::report::Report;

use super::TestBed;
use crate::prometheus::Prometheus;
use crate::service::Service;

/// The limit of the containers.
const LIMIT: &str = "256MiB";
const LIMIT_BYTES: f64 = 268_435_456.0;

/// Kills that make a sawtooth in the chart of memory.
const KILLS: usize = 2;
const KILL_TIMEOUT: Duration = Duration::from_secs(300);

/// Requests a second. With the 50 of the README each kill takes six minutes.
const RATE: &str = "500";

pub(super) fn run(bed: &TestBed<'_>, report: &mut Report) -> Result<()> {
    println!("\nthe memory limit");
    let Some(k6) = &bed.k6 else {
        report.skip("memory limit", "there is no k6");
        return Ok(());
    };
    let addresses = bed.stack.addresses;
    let run = bed.stack.run.clone();
    // The service of the last scenario has ended: a scrape must record that.
    if let Some(prometheus) = &bed.prometheus {
        prometheus.wait_for_scrape();
    }
    let plugins = EXERCISES.join(",");
    let since = bed
        .prometheus
        .as_ref()
        .map(|_| Prometheus::new(addresses.prometheus_url()));
    let mut service = Service::start(
        bed.files,
        addresses,
        &run,
        &["--memory-limit", LIMIT, "--enable", &plugins],
    )?;
    report.check("killed at the limit, and restarted", || {
        let environment = [
            ("RATE", RATE),
            ("DURATION", "10m"),
            ("TIMEOUT", "2s"),
            // The second kill is part of the test.
            ("CONTINUE", "1"),
        ];
        let mut load = k6.start(
            "k6-limit",
            "memory-stress.js",
            &addresses.service_url(),
            &environment,
            &run,
        )?;
        let started = Instant::now();
        let mut kills = Vec::new();
        while kills.len() < KILLS {
            ensure!(
                started.elapsed() < KILL_TIMEOUT,
                "it still runs after {} s, resident {:?}",
                started.elapsed().as_secs(),
                service.resident_bytes()
            );
            if service.supervise()?.is_some() {
                kills.push(started.elapsed().as_secs());
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
            "exit code 137 after {kills:?} s, and it answers again"
        ))
    });
    if let Some(prometheus) = since {
        prometheus.wait_for_scrape();
        report.check("sawtooth in Prometheus", || {
            let resident = prometheus.values("process_resident_memory_bytes")?;
            let teeth = count_teeth(&resident);
            ensure!(
                teeth >= KILLS,
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

/// How many times memory rose above 60 % of the limit and then fell below 40 %.
fn count_teeth(resident: &[f64]) -> usize {
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
    fn a_tooth_is_a_rise_and_a_fall() {
        let of = |shares: &[f64]| {
            count_teeth(&shares.iter().map(|s| s * LIMIT_BYTES).collect::<Vec<_>>())
        };
        assert_eq!(of(&[0.1, 0.5, 0.9, 0.1, 0.4, 0.95, 0.1]), 2);
        assert_eq!(of(&[0.1, 0.5, 0.9, 0.9]), 0, "it has not fallen");
        assert_eq!(of(&[0.1, 0.5, 0.1, 0.5]), 0, "it never rose high enough");
    }
}
