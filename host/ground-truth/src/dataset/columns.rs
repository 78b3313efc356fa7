//! The scrapes of a dataset, one column for each series.

use crate::plan::Plan;
use crate::scrape::{MetricType, PLUGIN_METRICS, PROCESS_METRICS, Scrape};
use crate::simulated_host::START_UNIX_MS;

/// The start of the simulation, in seconds since 1970.
pub(super) const START_SECONDS: u64 = START_UNIX_MS / 1000;

/// One series.
#[derive(Debug)]
pub(super) struct Column {
    /// The name of the metric.
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    /// Labels other than those of the target.
    pub(super) labels: Vec<(&'static str, String)>,
    /// One value per scrape; `None` where no process answered.
    pub(super) values: Vec<Option<u64>>,
}

/// All series. Values of one metric are next to each other.
#[derive(Debug)]
pub(super) struct Columns {
    /// The times of the scrapes, in seconds since 1970.
    pub(super) times: Vec<u64>,
    pub(super) up: Column,
    pub(super) process: Vec<Column>,
    /// For each plugin of the plan, a column for each of [`PLUGIN_METRICS`].
    pub(super) plugins: Vec<Vec<Column>>,
}

impl Columns {
    pub(super) fn new(plan: &Plan) -> Self {
        let column = |name, kind, labels| Column {
            name,
            kind,
            labels,
            values: Vec::new(),
        };
        let owned = |labels: &[(&'static str, &'static str)]| -> Vec<(&'static str, String)> {
            let labels = labels.iter();
            labels
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect()
        };
        let process = PROCESS_METRICS.iter();
        let of_plugin = |plugin: &str| {
            let metrics = PLUGIN_METRICS.iter().map(|metric| {
                let mut labels = vec![("plugin", plugin.to_owned())];
                labels.extend(owned(metric.labels));
                column(metric.name, metric.kind, labels)
            });
            metrics.collect()
        };
        Self {
            times: Vec::new(),
            up: column("up", MetricType::Gauge, Vec::new()),
            process: process
                .map(|metric| column(metric.name, metric.kind, owned(metric.labels)))
                .collect(),
            plugins: plan.plugins.iter().map(|p| of_plugin(&p.plugin)).collect(),
        }
    }

    /// Adds a scrape at this second of the simulation.
    pub(super) fn push(&mut self, second: u64, scrape: Option<&Scrape>) {
        self.times.push(START_SECONDS + second);
        self.up.values.push(Some(u64::from(scrape.is_some())));
        for (column, metric) in self.process.iter_mut().zip(PROCESS_METRICS) {
            let value = scrape.map(|scrape| (metric.value)(scrape, START_SECONDS));
            column.values.push(value);
        }
        for (index, columns) in self.plugins.iter_mut().enumerate() {
            let plugin = scrape.and_then(|scrape| scrape.plugins.get(index));
            for (column, metric) in columns.iter_mut().zip(PLUGIN_METRICS) {
                column.values.push(plugin.map(metric.value));
            }
        }
    }

    /// Every series, those of one metric next to each other.
    pub(super) fn by_metric(&self) -> Vec<&Column> {
        let mut all: Vec<&Column> = vec![&self.up];
        all.extend(&self.process);
        all.extend(self.plugins.iter().flatten());
        // A stable sort keeps the order of the plugins.
        all.sort_by_key(|column| column.name);
        all
    }
}
