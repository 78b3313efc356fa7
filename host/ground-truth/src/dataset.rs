//! Labelled series: what a scrape every few seconds would see of leaks, decoys and healthy plugins,
//! with the truth about them.

mod card;
mod choice;
mod columns;
mod openmetrics;
mod table;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_heap::snapshot::GroupBy;
use lab::heap::Heaps;
use plugin_host::driver::handle::Plugin;
use plugin_host::load::loader::Loader;
use plugin_host::settings::Value;
use serde::Serialize;

use crate::load_shape::LoadShape;
use crate::plan::Plan;
use crate::simulated_host::SimulatedHost;
use crate::simulation;
use crate::truth::{Restart, Role, Truth};

use self::choice::{Candidate, Random};
use self::columns::{Columns, START_SECONDS};

/// The longest dataset, in days.
pub const MAX_DAYS: u64 = 60;

/// Requests of a probe. Not a round number: after each 100th, one of the decoys holds nothing.
const PROBE_REQUESTS: u64 = 777;

/// Growth in the second half of a probe from which on a bug leaks, in bytes.
const MIN_PROBE_GROWTH: u64 = 65_536;

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct DatasetOptions {
    /// Chooses the plugins, their bugs and the times. The same seed gives the same files.
    pub seed: u64,
    /// Length in days, 1 to [`MAX_DAYS`].
    pub days: u64,
    /// Seconds between two scrapes, at least 1.
    pub scrape_seconds: u64,
    /// Mean of the requests per second.
    pub requests_per_second: f64,
    /// The shape of the load; `None` lets the seed choose.
    pub load: Option<LoadShape>,
    /// Whether to write `metrics.om`.
    pub openmetrics: bool,
    /// Whether to write `process.parquet` and `plugins.parquet`.
    pub parquet: bool,
}

/// The labels of a dataset, as in `labels.json`. Times are seconds since 1970.
#[derive(Debug, Serialize)]
pub struct Labels {
    /// The version of the columns and labels.
    pub format: u32,
    /// The seed.
    pub seed: u64,
    /// Length in days.
    pub days: u64,
    /// The first scrape.
    pub start: u64,
    /// Seconds between two scrapes.
    pub scrape_seconds: u64,
    /// The shape of the load.
    pub load: &'static str,
    /// Mean of the requests per second.
    pub requests_per_second: f64,
    /// The memory limit of the process in bytes.
    pub memory_limit_bytes: u64,
    /// The plugins, by their ids.
    pub plugins: Vec<PluginLabels>,
    /// The restarts of the process.
    pub restarts: Vec<Restart>,
}

/// What is true of one plugin of a dataset.
#[derive(Debug, Serialize)]
pub struct PluginLabels {
    /// Its id, as in the label and the column `plugin`.
    pub plugin: String,
    /// What it is in this dataset.
    pub role: Role,
    /// What holds the memory, by the title of its manifest.
    pub kind: String,
    /// The line that allocates most of the live memory while the bug is active, as the
    /// profiler attributes it; `null` for a healthy plugin.
    pub line: Option<String>,
    /// How memory grows: the setting `curve`.
    pub curve: String,
    /// When the bug is active, or the decoy: from the first number until before the second.
    pub active: Vec<(u64, u64)>,
    /// Mean growth of live bytes per request, in the first process with the bug.
    pub bytes_per_request: f64,
    /// The same for linear memory.
    pub linear_per_request: f64,
    /// When the process was first killed at its limit after the onset.
    pub limit_reached: Option<u64>,
}

/// Plays a dataset and writes its files into `folder`, which is created. Returns the labels.
///
/// # Errors
///
/// When an option is out of range, a plugin cannot be played, or a file cannot be written.
pub async fn write(
    loader: &Loader,
    host: &SimulatedHost,
    options: &DatasetOptions,
    folder: &Path,
) -> Result<Labels> {
    ensure!(
        (1..=MAX_DAYS).contains(&options.days),
        "the days of a dataset are 1 to {MAX_DAYS}"
    );
    let heaps = Heaps::new(loader.clone());
    let mut candidates = Vec::new();
    let mut lines = BTreeMap::new();
    for id in host.ids() {
        let plugin = host.plugin(&id)?;
        let probe = probe(host, &heaps, &plugin, options.requests_per_second).await?;
        lines.extend(probe.line.map(|line| (id.clone(), line)));
        let details = plugin.details();
        let payload = details.settings.payload();
        candidates.push(Candidate {
            title: details.manifest.title.clone(),
            payload_bytes: payload.map_or(0, |(_, bytes)| bytes),
            grows: probe.grows,
            id,
        });
    }
    let plan = choice::plan(
        &mut Random::new(options.seed),
        &candidates,
        options.days,
        options.scrape_seconds,
        options.requests_per_second,
        options.load,
    )?;
    let mut columns = Columns::new(&plan);
    let scraped = |second, scrape: Option<_>| columns.push(second, scrape.as_ref());
    let outcome = simulation::play(host, &plan, scraped).await?;
    let kinds = candidates.into_iter().map(|c| (c.id, c.title)).collect();
    let labels = labels(
        options,
        &plan,
        &outcome.truths,
        &outcome.restarts,
        &kinds,
        &lines,
    );
    let folder_error = || format!("cannot write into {}", folder.display());
    fs::create_dir_all(folder).with_context(folder_error)?;
    if options.openmetrics {
        let out = File::create(folder.join("metrics.om")).with_context(folder_error)?;
        openmetrics::write(&columns, BufWriter::with_capacity(1 << 20, out))
            .with_context(folder_error)?;
    }
    if options.parquet {
        let leaking = leak_times(&plan, &outcome.truths);
        table::write_process(&columns, &leaking, &folder.join("process.parquet"))?;
        table::write_plugins(&columns, &plan, &leaking, &folder.join("plugins.parquet"))?;
    }
    let json = serde_json::to_string_pretty(&labels)? + "\n";
    fs::write(folder.join("labels.json"), json).with_context(folder_error)?;
    let card = card::text(options, &labels, &columns);
    fs::write(folder.join("README.md"), card).with_context(folder_error)?;
    Ok(labels)
}

/// When each plugin leaks, in the order of the plan. A decoy never does.
fn leak_times(plan: &Plan, truths: &[Truth]) -> Vec<Vec<(u64, u64)>> {
    let plugins = plan.plugins.iter().zip(truths);
    plugins
        .map(|(plugin, truth)| match truth.role {
            Role::Leak => plugin.active.clone(),
            Role::Decoy | Role::Healthy => Vec::new(),
        })
        .collect()
}

fn labels(
    options: &DatasetOptions,
    plan: &Plan,
    truths: &[Truth],
    restarts: &[Restart],
    kinds: &BTreeMap<String, String>,
    lines: &BTreeMap<String, String>,
) -> Labels {
    let at = |second: u64| START_SECONDS + second;
    let plugins = plan.plugins.iter().zip(truths).map(|(plugin, truth)| {
        let curve = plugin.settings.iter().find(|(name, _)| name == "curve");
        PluginLabels {
            plugin: plugin.plugin.clone(),
            role: truth.role,
            kind: kinds.get(&plugin.plugin).cloned().unwrap_or_default(),
            line: match truth.role {
                Role::Healthy => None,
                Role::Leak | Role::Decoy => lines.get(&plugin.plugin).cloned(),
            },
            curve: match curve {
                Some((_, Value::Text(curve))) => curve.clone(),
                _ => "linear".to_owned(),
            },
            active: plugin
                .active
                .iter()
                .map(|(from, until)| (at(*from), at((*until).min(plan.seconds))))
                .collect(),
            bytes_per_request: truth.bytes_per_request,
            linear_per_request: truth.linear_per_request,
            limit_reached: truth.limit_reached.map(at),
        }
    });
    Labels {
        format: 1,
        seed: options.seed,
        days: options.days,
        start: START_SECONDS,
        scrape_seconds: options.scrape_seconds,
        load: plan.load.shape.name(),
        requests_per_second: options.requests_per_second,
        memory_limit_bytes: crate::scrape::PROCESS_LIMIT_BYTES,
        plugins: plugins.collect(),
        restarts: restarts
            .iter()
            .map(|restart| Restart {
                at: at(restart.at),
                ..*restart
            })
            .collect(),
    }
}

/// What a plugin does with its bug.
struct Probe {
    /// Whether its memory grows at this rate: an unbounded queue does not if its consumer keeps up.
    grows: bool,
    /// The line that holds most of its memory, as the heap profiler attributes it.
    line: Option<String>,
}

/// Sends requests to one plugin with its bug.
async fn probe(
    host: &SimulatedHost,
    heaps: &Heaps,
    plugin: &Arc<Plugin>,
    requests_per_second: f64,
) -> Result<Probe> {
    plugin.reset(true).await?;
    host.configure(plugin, true, Vec::new()).await?;
    let memory = || {
        let reading = plugin.reading();
        reading.heap_live.unwrap_or_default() + reading.linear.bytes
    };
    let mut half_way = 0;
    for number in 0..PROBE_REQUESTS {
        if number == PROBE_REQUESTS / 2 {
            half_way = memory();
        }
        let time = Duration::from_secs_f64(number as f64 / requests_per_second);
        host.request(number, time).await;
    }
    let grows = memory() > half_way + MIN_PROBE_GROWTH;
    let snapshot = heaps.snapshot(plugin).await?;
    let top = snapshot.map(|snapshot| snapshot.top(GroupBy::Line, 1));
    let line = top
        .unwrap_or_default()
        .first()
        .map(|group| group.location.to_string());
    plugin.reset(true).await?;
    Ok(Probe { grows, line })
}

#[cfg(test)]
mod tests;
