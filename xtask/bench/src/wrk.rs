//! The load generator `wrk`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use xtask_support::tools::on_path;

/// What `wrk` measured in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Turn {
    /// Requests that were answered.
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    /// The 99th percentile of latency.
    pub(crate) p99_ms: f64,
}

/// # Errors
/// When `wrk` is not installed.
pub(crate) fn find() -> Result<PathBuf> {
    on_path("wrk")
        .context("the load generator is missing: apt-get install wrk, or your system's package")
}

/// The command of a load with one thread.
pub(crate) fn command(wrk: &Path, connections: u32, duration: Duration) -> Command {
    let mut command = Command::new(wrk);
    command
        .args(["--threads", "1", "--latency"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs().max(1))]);
    command
}

/// Reads what `wrk --latency` prints.
///
/// # Errors
/// When a response was no success, or the text is no such report.
pub(crate) fn parse_report(report: &str) -> Result<Turn> {
    ensure!(
        !report.contains("Non-2xx") && !report.contains("Socket errors"),
        "not every response was a success"
    );
    let value = |name: &str| {
        let line = report
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let word = line.and_then(|line| line.split_whitespace().last());
        word.with_context(|| format!("wrk prints no {name}"))
    };
    let requests_per_second = value("Requests/sec:")?
        .parse()
        .context("the requests a second are no number")?;
    let requests = report
        .lines()
        .find(|line| line.contains(" requests in "))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("wrk prints no number of requests")?;
    Ok(Turn {
        requests,
        requests_per_second,
        p99_ms: milliseconds(value("99%")?)?,
    })
}

/// Reads `950.00us`, `1.23ms` or `2.00s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit)
            && let Ok(number) = number.parse::<f64>()
        {
            return Ok(number * factor);
        }
    }
    bail!("wrk's {text:?} is no time")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
Running 4s test @ http://127.0.0.1:8080/api/data
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   780.40us  310.11us   9.21ms   90.03%
    Req/Sec    41.20k     2.10k   45.00k    75.00%
  Latency Distribution
     50%  740.00us
     99%    1.83ms
  164000 requests in 4.00s, 60.00MB read
Requests/sec:  41000.50
Transfer/sec:     15.00MB
";

    #[test]
    fn a_report_is_parsed() {
        let turn = parse_report(REPORT).unwrap();
        assert_eq!(turn.requests, 164_000);
        assert_eq!(turn.requests_per_second, 41000.5);
        assert_eq!(turn.p99_ms, 1.83);
    }

    #[test]
    fn a_report_with_failures_is_refused() {
        let report = format!("{REPORT}  Non-2xx or 3xx responses: 12\n");
        assert!(parse_report(&report).is_err());
        assert!(parse_report("another text").is_err());
    }

    #[test]
    fn times_are_parsed_in_every_unit() {
        for (text, expected) in [("950.00us", 0.95), ("1.50ms", 1.5), ("2.00s", 2000.0)] {
            let parsed: f64 = milliseconds(text).unwrap();
            assert!((parsed - expected).abs() < 1e-9, "{text}: {parsed}");
        }
        assert!(milliseconds("soon").is_err());
    }
}
