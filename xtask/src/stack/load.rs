//! Load by the scripts in `k6/`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::process::{Process, Run};
use super::service::Service;

/// How often the service is looked after while the load runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// k6 and the scripts.
#[derive(Debug)]
pub(crate) struct K6 {
    pub(crate) program: PathBuf,
    pub(crate) scripts: PathBuf,
}

/// What k6 counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// From 0 to 1.
    pub(crate) failed_share: f64,
    /// In milliseconds.
    pub(crate) p95_ms: f64,
    /// Whether every threshold of the script was kept.
    pub(crate) kept: bool,
}

impl K6 {
    /// Starts a script. `name` becomes the name of its log and of its summary.
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
            // Nothing leaves this machine.
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
    ) -> Result<Outcome> {
        let mut load = self.start(name, script, base_url, environment, run)?;
        while load.exited()?.is_none() {
            service.supervise()?;
            std::thread::sleep(LOOK_EVERY);
        }
        let kept = load.exited()? == Some(0);
        let summary = std::fs::read(summary_file(run, name))
            .with_context(|| format!("k6 left no summary; see {}", run.folder().display()))?;
        outcome(&serde_json::from_slice(&summary)?, kept)
    }
}

fn summary_file(run: &Run, name: &str) -> PathBuf {
    run.folder().join(format!("{name}.json"))
}

fn outcome(summary: &Value, kept: bool) -> Result<Outcome> {
    let number = |metric: &str, value: &str| {
        summary
            .get("metrics")
            .and_then(|metrics| metrics.get(format!("{metric}{{name:load}}")))
            .and_then(|metric| metric.get("values"))
            .and_then(|values| values.get(value))
            .and_then(Value::as_f64)
            .with_context(|| format!("k6's summary has no {metric} {value}"))
    };
    Ok(Outcome {
        requests: number("http_reqs", "count")? as u64,
        failed_share: number("http_req_failed", "rate")?,
        p95_ms: number("http_req_duration", "p(95)")?,
        kept,
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
        let outcome = outcome(&summary, true).unwrap();
        assert_eq!(outcome.requests, 10);
        assert_eq!((outcome.failed_share, outcome.p95_ms), (0.25, 3.5));
    }

    #[test]
    fn a_summary_without_a_load_is_an_error() {
        assert!(outcome(&json!({"metrics": {}}), true).is_err());
    }
}
