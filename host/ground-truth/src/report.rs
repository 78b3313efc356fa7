//! The result of the scorer: a summary for each alert, and a table of patterns and loads.

mod summary;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::promtool::Rules;
use crate::score::AlertScore;
use crate::scrape::{PLUGIN_METRICS, PROCESS_METRICS};
use crate::time_scale::TimeScale;
use crate::trial::Tried;
use crate::truth::{Restart, Truth};

pub use self::summary::Summary;
pub(crate) use self::table::duration;

/// The name of the summary of all alerts.
pub const ALL_ALERTS: &str = "all alerts";

/// Prefixes of the host's metric names.
const HOST_PREFIXES: [&str; 3] = ["http_", "leak_", "process_"];

/// The result of all trials.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `lesson` or `production`.
    pub time_scale: &'static str,
    /// Seconds between two evaluations of the rules.
    pub evaluation_interval_seconds: u64,
    /// Seconds between two scrapes.
    pub scrape_interval_seconds: u64,
    /// Mean of the requests per second.
    pub requests_per_second: f64,
    /// Days of simulated time without a leak, over all trials.
    pub healthy_days: f64,
    /// Metrics of the host that the rules name and a simulation does not have: alerts that need
    /// them cannot fire.
    pub not_simulated: Vec<String>,
    /// All alerts together: a leak is found when the first of them reports it.
    pub together: Summary,
    /// Each alert, by its name.
    pub alerts: Vec<Summary>,
    /// Each trial.
    pub trials: Vec<TrialReport>,
}

/// The result of one trial. Times are seconds from its start.
#[derive(Debug, Serialize)]
pub struct TrialReport {
    /// What was played.
    pub name: String,
    /// The shape of the load.
    pub load: &'static str,
    /// The curve.
    pub curve: String,
    /// The length of the simulation in seconds.
    pub seconds: u64,
    /// What was true.
    pub truths: Vec<Truth>,
    /// The restarts of the process.
    pub restarts: Vec<Restart>,
    /// The score of all alerts together.
    pub together: AlertScore,
    /// The score of each alert.
    pub alerts: BTreeMap<String, AlertScore>,
    /// When alerts fired.
    pub firings: Vec<FiringReport>,
}

/// One alert that fired.
#[derive(Debug, Serialize)]
pub struct FiringReport {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it began to fire, in seconds.
    pub from: u64,
    /// When it was resolved; `null` if it fired until the end.
    pub resolved: Option<u64>,
    /// Whether it was true.
    pub is_true: bool,
}

impl Report {
    /// The report of these trials.
    pub fn new(tried: Vec<Tried>, rules: &Rules, interval_seconds: u64, scale: &TimeScale) -> Self {
        let healthy: u64 = tried.iter().map(|one| one.healthy_seconds).sum();
        let days = healthy as f64 / 86_400.0;
        // A scenario has a load of its own.
        let rate = tried
            .first()
            .map(|one| one.trial.plan.load.requests_per_second);
        let alerts = rules.alerts().iter().map(|name| {
            let scores = tried.iter().filter_map(|one| one.alerts.get(name));
            Summary::of(name, scores, days)
        });
        let alerts = alerts.collect();
        let together = Summary::of(ALL_ALERTS, tried.iter().map(|one| &one.together), days);
        Self {
            time_scale: scale.name,
            evaluation_interval_seconds: interval_seconds,
            scrape_interval_seconds: scale.scrape_seconds,
            requests_per_second: rate.unwrap_or(scale.requests_per_second),
            healthy_days: days,
            not_simulated: not_simulated(rules.text()),
            together,
            alerts,
            trials: tried.into_iter().map(TrialReport::from).collect(),
        }
    }

    /// The tables for people.
    pub fn human(&self) -> String {
        table::text(self)
    }
}

impl From<Tried> for TrialReport {
    fn from(tried: Tried) -> Self {
        let firings = tried.firings.into_iter();
        Self {
            name: tried.trial.name,
            load: tried.trial.load.name(),
            curve: tried.trial.curve,
            seconds: tried.trial.plan.seconds,
            truths: tried.truths,
            restarts: tried.restarts,
            together: tried.together,
            alerts: tried.alerts,
            firings: firings
                .map(|(firing, is_true)| FiringReport {
                    is_true,
                    labels: firing.labels,
                    from: firing.from,
                    resolved: firing.resolved,
                })
                .collect(),
        }
    }
}

/// Names in these rules that look like metrics of the host, and that no simulation has. Recorded
/// series have a colon in their names.
fn not_simulated(rules: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let has = |name: &str| {
        PROCESS_METRICS.iter().any(|metric| metric.name == name)
            || PLUGIN_METRICS.iter().any(|metric| metric.name == name)
    };
    let expressions = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let words = expressions.flat_map(|line| line.split(|c| !is_part(c)));
    let mut missing: Vec<String> = words
        .filter(|word| HOST_PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| !word.contains(':') && !has(word))
        .map(str::to_owned)
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_a_simulation_lacks_are_named() {
        let rules = "# leak_in_a_comment\nexpr: leak_memory_seconds_to_limit < 60 and \
                     leak_plugin_heap_live_bytes > 1 or plugin:leak_plugin:min5m";
        assert_eq!(not_simulated(rules), ["leak_memory_seconds_to_limit"]);
    }
}
