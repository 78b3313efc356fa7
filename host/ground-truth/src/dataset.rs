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

/// Requests after which the line that holds the most memory is read.
const ATTRIBUTED_REQUESTS: u64 = 400;

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
    /// The line of source that allocates most of the live memory while the bug is active, as the
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
    let mut candidates = Vec::new();
    for id in host.ids() {
        let details = host.plugin(&id)?;
        let details = details.details();
        let payload = details.settings.payload();
        candidates.push(Candidate {
            title: details.manifest.title.clone(),
            payload_bytes: payload.map_or(0, |(_, bytes)| bytes),
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
    let lines = lines(loader, host, &plan).await?;
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
            line: lines.get(&plugin.plugin).cloned(),
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

/// The line that holds most of the memory of each plugin whose bug is active at some time, as the
/// heap profiler attributes it after some requests.
async fn lines(
    loader: &Loader,
    host: &SimulatedHost,
    plan: &Plan,
) -> Result<BTreeMap<String, String>> {
    let heaps = Heaps::new(loader.clone());
    let mut lines = BTreeMap::new();
    for played in plan.plugins.iter().filter(|p| !p.active.is_empty()) {
        let plugin = host.plugin(&played.plugin)?;
        plugin.reset(true).await?;
        host.configure(&plugin, true, played.settings.clone())
            .await?;
        for number in 0..ATTRIBUTED_REQUESTS {
            host.request(number, Duration::from_secs(number)).await;
        }
        let snapshot: Option<Arc<_>> = heaps.snapshot(&plugin).await?;
        let top = snapshot.map(|snapshot| snapshot.top(GroupBy::Line, 1));
        if let Some(group) = top.unwrap_or_default().first() {
            lines.insert(played.plugin.clone(), group.location.to_string());
        }
        plugin.reset(true).await?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
