//! Judges alerts by the truth: when they fired, and when a plugin leaked.
//!
//! The judge knows neither rules nor simulations. It takes a list of firings, from promtool or from
//! the notifications of an Alertmanager, and the truth about each plugin.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::truth::Truth;

/// The label with the name of an alert.
const ALERT_NAME: &str = "alertname";

/// The label that says which plugin an alert is about. An alert without it is about the process.
const PLUGIN: &str = "plugin";

/// One alert that fired. Times are seconds on the clock of the [`Truth`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Its labels, with `alertname`.
    pub labels: BTreeMap<String, String>,
    /// When it began to fire.
    pub from: u64,
    /// When it was resolved; `None` if it still fires.
    pub resolved: Option<u64>,
}

impl Firing {
    /// The name of the alert.
    pub fn alert(&self) -> &str {
        self.labels.get(ALERT_NAME).map_or("", String::as_str)
    }

    /// Whether it can be about this plugin: it names it, or no plugin at all.
    fn is_about(&self, plugin: &str) -> bool {
        self.labels.get(PLUGIN).is_none_or(|named| named == plugin)
    }
}

/// What was observed, besides the alerts.
#[derive(Debug, Clone)]
pub struct Observation<'a> {
    /// The truth about each plugin.
    pub truths: &'a [Truth],
    /// When the observation began, in seconds.
    pub from: u64,
    /// When it ended.
    pub until: u64,
    /// How long after the end of a leak an alert about it is still true, in seconds: the windows of
    /// rules reach back.
    pub grace_seconds: u64,
    /// When processes ended. An alert that fires again for the next process does not flap.
    pub restarts: &'a [u64],
}

/// How one alert did on one observation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AlertScore {
    /// Each leak: whether and when it was reported.
    pub leaks: Vec<LeakScore>,
    /// When it fired without a reason, in seconds.
    pub false_alarms: Vec<u64>,
    /// How often it was resolved and fired again while the same process went on leaking.
    pub flaps: u64,
}

/// How one alert, or a set of alerts, did on one leak.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeakScore {
    /// The plugin that leaks.
    pub plugin: String,
    /// Seconds from the onset to the first true alert; `None` if the leak was missed.
    pub seconds_to_detect: Option<u64>,
    /// Seconds from that alert to the memory limit, negative if it came after it. `None` without an
    /// alert, or if the limit is out of reach.
    pub lead_seconds: Option<i64>,
    /// Seconds from the onset until a process reaches the limit; `None` if nothing grows.
    pub seconds_to_limit: Option<u64>,
    /// Whether the limit is more than two days away, or memory does not grow.
    pub out_of_reach: bool,
}

/// Judges firings. The result has the name of each alert that fired, and of each in `alerts`.
pub fn judge(
    firings: &[Firing],
    alerts: &BTreeSet<String>,
    observation: &Observation<'_>,
) -> BTreeMap<String, AlertScore> {
    let mut names = alerts.clone();
    names.extend(firings.iter().map(|firing| firing.alert().to_owned()));
    let scores = names.into_iter().map(|name| {
        let of_alert = firings.iter().filter(|firing| firing.alert() == name);
        let score = judge_one(&of_alert.collect::<Vec<_>>(), observation);
        (name, score)
    });
    scores.collect()
}

/// Judges all alerts together: a leak is found when the first of them reports it.
pub fn judge_together(firings: &[Firing], observation: &Observation<'_>) -> AlertScore {
    judge_one(&firings.iter().collect::<Vec<_>>(), observation)
}

/// Whether an alert began to fire while a plugin that it can be about leaked.
pub fn is_true(firing: &Firing, observation: &Observation<'_>) -> bool {
    let mut leaks = observation.truths.iter().filter(|truth| truth.is_leak());
    leaks.any(|truth| reports(firing, truth, observation))
}

fn judge_one(firings: &[&Firing], observation: &Observation<'_>) -> AlertScore {
    let leaks = || observation.truths.iter().filter(|truth| truth.is_leak());
    AlertScore {
        leaks: leaks()
            .map(|truth| leak_score(firings, truth, observation))
            .collect(),
        false_alarms: firings
            .iter()
            .filter(|firing| !is_true(firing, observation))
            .map(|firing| firing.from)
            .collect(),
        flaps: leaks()
            .map(|truth| flaps(firings, truth, observation))
            .sum(),
    }
}

/// Whether an alert is true of this leak: it began to fire while the plugin leaked.
fn reports(firing: &Firing, truth: &Truth, observation: &Observation<'_>) -> bool {
    let Some(onset) = truth.onset else {
        return false;
    };
    let until = truth.end.saturating_add(observation.grace_seconds);
    firing.is_about(&truth.plugin) && (onset..=until).contains(&firing.from)
}

fn leak_score(firings: &[&Firing], truth: &Truth, observation: &Observation<'_>) -> LeakScore {
    let reporting = firings
        .iter()
        .filter(|firing| reports(firing, truth, observation));
    let first = reporting.map(|firing| firing.from).min();
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    LeakScore {
        plugin: truth.plugin.clone(),
        seconds_to_detect: first.zip(truth.onset).map(|(at, onset)| at - onset),
        lead_seconds: first
            .zip(truth.limit_at())
            .map(|(at, limit)| signed(limit) - signed(at)),
        seconds_to_limit: truth.seconds_to_limit,
        out_of_reach: truth.is_out_of_reach(),
    }
}

/// How often an alert fired again, for each of its sets of labels, without a restart in between.
fn flaps(firings: &[&Firing], truth: &Truth, observation: &Observation<'_>) -> u64 {
    let mut by_labels: BTreeMap<&BTreeMap<String, String>, Vec<&Firing>> = BTreeMap::new();
    for firing in firings {
        if reports(firing, truth, observation) {
            by_labels.entry(&firing.labels).or_default().push(firing);
        }
    }
    let restarted = |before: &Firing, after: &Firing| {
        let mut restarts = observation.restarts.iter();
        restarts.any(|at| (before.from..=after.from).contains(at))
    };
    let mut flaps = 0;
    for series in by_labels.values_mut() {
        series.sort_by_key(|firing| firing.from);
        let pairs = series.iter().zip(series.iter().skip(1));
        flaps += pairs.filter(|(a, b)| !restarted(a, b)).count() as u64;
    }
    flaps
}

/// Seconds of an observation in which no plugin leaks: any alert about a leak is false then.
pub fn healthy_seconds(observation: &Observation<'_>) -> u64 {
    let leaks = observation.truths.iter().filter(|truth| truth.is_leak());
    let onset = leaks.clone().filter_map(|truth| truth.onset).min();
    let before = onset.unwrap_or(observation.until);
    let after = match leaks.map(|truth| truth.end).max() {
        Some(end) => observation
            .until
            .saturating_sub(end.saturating_add(observation.grace_seconds)),
        None => 0,
    };
    before.saturating_sub(observation.from) + after
}

#[cfg(test)]
mod tests;
