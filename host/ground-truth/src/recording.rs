//! The scrapes of a simulation, and the same as series in promtool's notation.

use std::fmt::Write as _;

use anyhow::Result;

use crate::notation::SamplesWithGaps;
use crate::plan::Plan;
use crate::scrape::{PLUGIN_METRICS, PROCESS_METRICS, Scrape};
use crate::simulated_host::SimulatedHost;
use crate::simulation::{self, Outcome};

/// The labels that Prometheus adds to what it scrapes from the lab.
pub const TARGET_LABELS: [(&str, &str); 2] = [("job", "leaky-service"), ("instance", "lab")];

/// A simulation that was played, with all of its scrapes.
#[derive(Debug)]
pub struct Recording {
    /// The ids of the plugins, in the order of the scrapes.
    pub plugins: Vec<String>,
    /// Seconds between two scrapes.
    pub scrape_seconds: u64,
    /// The scrapes, from the start; `None` while no process answered.
    pub scrapes: Vec<Option<Scrape>>,
    /// What was true.
    pub outcome: Outcome,
}

impl Recording {
    /// Plays a plan and keeps its scrapes.
    ///
    /// # Errors
    ///
    /// Those of [`simulation::play`].
    pub async fn play(host: &SimulatedHost, plan: &Plan) -> Result<Self> {
        let mut scrapes = Vec::new();
        let outcome = simulation::play(host, plan, |_, scrape| scrapes.push(scrape)).await?;
        Ok(Self {
            plugins: plan.plugins.iter().map(|p| p.plugin.clone()).collect(),
            scrape_seconds: plan.scrape_seconds,
            scrapes,
            outcome,
        })
    }

    /// Seconds from the first scrape to the last.
    pub fn seconds(&self) -> u64 {
        (self.scrapes.len() as u64).saturating_sub(1) * self.scrape_seconds
    }

    /// Every series of the metrics that `is_wanted` accepts by their names: the name with its
    /// labels, and the samples in promtool's notation. The first sample is at time 0.
    pub fn series(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut series = Vec::new();
        if is_wanted("up") {
            series.push(self.one("up", &[], |scrape| Some(u64::from(scrape.is_some()))));
        }
        for metric in PROCESS_METRICS
            .iter()
            .filter(|metric| is_wanted(metric.name))
        {
            let value = |scrape: Option<&Scrape>| Some((metric.value)(scrape?, 0));
            series.push(self.one(metric.name, metric.labels, value));
        }
        for (index, plugin) in self.plugins.iter().enumerate() {
            for metric in PLUGIN_METRICS
                .iter()
                .filter(|metric| is_wanted(metric.name))
            {
                let labels = [&[("plugin", plugin.as_str())], metric.labels].concat();
                let value =
                    |scrape: Option<&Scrape>| Some((metric.value)(scrape?.plugins.get(index)?));
                series.push(self.one(metric.name, &labels, value));
            }
        }
        series
    }

    fn one(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl Fn(Option<&Scrape>) -> Option<u64>,
    ) -> (String, String) {
        let values = self.scrapes.iter().map(|scrape| value(scrape.as_ref()));
        let values: Vec<Option<u64>> = values.collect();
        (
            series_name(name, labels),
            SamplesWithGaps(&values).to_string(),
        )
    }
}

/// A series with the labels of the target and its own, such as `up{job="…",instance="…"}`. No label
/// of a simulation needs an escape.
pub(crate) fn series_name(name: &str, labels: &[(&str, &str)]) -> String {
    let mut text = name.to_owned();
    let mut separator = '{';
    for (label, value) in TARGET_LABELS.iter().chain(labels) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{label}=\"{value}\"");
        separator = ',';
    }
    text.push('}');
    text
}
