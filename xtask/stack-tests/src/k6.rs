//! Load with the scripts in `k6/`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{Process, Run};
use crate::service::Service;

/// Between two looks at the service while the load runs.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// k6 and its scripts.
#[derive(Debug)]
pub(crate) struct K6 {
    pub(crate) program: PathBuf,
    pub(crate) scripts: PathBuf,
}

/// The summary of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadSummary {
    pub(crate) requests: u64,
    /// From 0 to 1.
    pub(crate) failed_share: f64,
    pub(crate) p95_ms: f64,
    /// True when every threshold of the script was met.
    pub(crate) thresholds_met: bool,
}

impl K6 {
    /// Starts a script. Its log and its summary are called `name`.
    ///
    /// # Errors
    /// When k6 cannot be started.
    pub(crate) fn start(
        &self,
        name: &str,
        script: &str,
        base_url: &str,
        environment: &[(&str, &str)],
        run: &Run,
    ) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--quiet", "--no-color", "--address", ""])
            .arg(self.scripts.join(script))
            .env("BASE_URL", base_url)
            .env("SUMMARY_FILE", summary_file(run, name))
            // No data leaves this machine.
            .env("K6_NO_USAGE_REPORT", "true")
            .envs(environment.iter().copied());
        Process::start(name, &mut command, run)
    }

    /// Runs a script to its end under the service's restart policy.
    ///
    /// # Errors
    /// When k6 cannot be started or leaves no summary.
    pub(crate) fn run(
        &self,
        name: &str,
        script: &str,
        base_url: &str,
        environment: &[(&str, &str)],
        run: &Run,
        service: &mut Service,
    ) -> Result<LoadSummary> {
        let mut load = self.start(name, script, base_url, environment, run)?;
        while load.exited()?.is_none() {
            service.supervise()?;
            std::thread::sleep(POLL_INTERVAL);
        }
        let thresholds_met = load.exited()? == Some(0);
        let summary = std::fs::read(summary_file(run, name))
            .with_context(|| format!("k6 left no summary; see {}", run.folder().display()))?;
        parse_summary(&serde_json::from_slice(&summary)?, thresholds_met)
    }
}

fn summary_file(run: &Run, name: &str) -> PathBuf {
    run.folder().join(format!("{name}.json"))
}

fn parse_summary(summary: &Value, thresholds_met: bool) -> Result<LoadSummary> {
    let number = |metric: &str, value: &str| {
        summary
            .get("metrics")
            .and_then(|metrics| metrics.get(format!("{metric}{{name:load}}")))
            .and_then(|metric| metric.get("values"))
            .and_then(|values| values.get(value))
            .and_then(Value::as_f64)
            .with_context(|| format!("k6's summary has no {metric} {value}"))
    };
    Ok(LoadSummary {
        requests: number("http_reqs", "count")? as u64,
        failed_share: number("http_req_failed", "rate")?,
        p95_ms: number("http_req_duration", "p(95)")?,
        thresholds_met,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_load_is_counted() {
        let summary = json!({"metrics": {
            "http_reqs": {"values": {"count": 12.0}},
            "http_reqs{name:load}": {"values": {"count": 10.0}},
            "http_req_failed{name:load}": {"values": {"rate": 0.25}},
            "http_req_duration{name:load}": {"values": {"p(95)": 3.5}},
        }});
        let parsed = parse_summary(&summary, true).unwrap();
        assert_eq!(parsed.requests, 10);
        assert_eq!((parsed.failed_share, parsed.p95_ms), (0.25, 3.5));
    }

    #[test]
    fn a_summary_without_a_load_is_an_error() {
        assert!(parse_summary(&json!({"metrics": {}}), true).is_err());
    }
}
