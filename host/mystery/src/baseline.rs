//! A scripted player: the baseline that other agents are compared with.
//!
//! It has no model and looks at nothing but what its level shows. It watches for most of the game,
//! then judges each plugin by the shape of its memory, and answers. It does no I/O: the caller
//! passes a [`View`] and does what [`Baseline::next`] says.

mod judge;
mod series;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::answer::Answer;

use series::Series;

/// The share of the game that the baseline watches before it answers.
const WATCHED_SHARE: f64 = 0.72;

/// A fall of the resident memory by this share is a deploy.
const DEPLOY_FALL: f64 = 0.1;

/// The time between two looks, as a share of the game.
const LOOK_SHARE: f64 = 0.01;

/// What an agent does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// Look again after this time.
    Wait(Duration),
    /// Send this answer.
    Submit(Box<Answer>),
}

/// What an agent sees: the answers of the API, as far as the level has them.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// `GET /admin/mystery/observe`.
    pub observation: Observation,
    /// `GET /admin/mystery/traces`, without those of the view before.
    pub traces: Vec<Trace>,
    /// `GET /admin/memory/diff`, or the functions of `GET /admin/memory/snapshot`; largest first.
    pub growing: Vec<GrowingLine>,
}

/// The answer of `GET /admin/mystery/observe`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Observation {
    /// Seconds since the start of the game.
    pub elapsed_seconds: f64,
    /// Requests since the start of the game.
    pub requests: u64,
    /// Memory of the process.
    pub process: ProcessReading,
    /// Numbers of each plugin; `None` at levels 4 and 5.
    #[serde(default)]
    pub plugins: Option<Vec<PluginReading>>,
}

/// Memory of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct ProcessReading {
    /// Resident memory.
    pub rss_bytes: u64,
    /// The memory limit, if there is one.
    pub limit_bytes: Option<u64>,
}

/// Numbers of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PluginReading {
    /// The alias.
    pub plugin: String,
    /// Live bytes of its heap; `None` if the profiler does not see them.
    #[serde(rename = "heap_live_bytes")]
    pub live_bytes: Option<u64>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trace {
    /// Seconds since the start of the game.
    pub at_seconds: f64,
    /// The tenant, if the request named one.
    pub tenant: Option<u32>,
    /// The status of the answer.
    pub status: u16,
    /// What each plugin did.
    #[serde(default)]
    pub plugins: Vec<PluginSpan>,
}

/// What one plugin did in a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PluginSpan {
    /// The alias.
    pub plugin: String,
    /// The change of its live bytes, if the level shows it.
    #[serde(default)]
    pub live_bytes_delta: Option<i64>,
}

/// A place that holds more memory than before, at levels 1 and 2.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GrowingLine {
    /// The alias.
    pub plugin: String,
    /// `file:line`, at level 1.
    #[serde(default)]
    pub location: Option<String>,
    /// The function.
    #[serde(default)]
    pub function: Option<String>,
}

/// An agent that plays the game.
pub trait Agent {
    /// What to do after this view.
    fn next(&mut self, view: &View) -> Move;
}

/// The scripted player.
#[derive(Debug)]
pub struct Baseline {
    duration: f64,
    /// The aliases of the game.
    plugins: Vec<String>,
    /// Live bytes of each plugin: read, or added up from the traces.
    series: Vec<Series>,
    /// Resident memory: seconds and bytes.
    resident: Vec<(f64, f64)>,
    /// The memory limit of the process, in bytes.
    limit: Option<f64>,
    traces: Vec<Trace>,
    /// By alias: where it has grown most when it grew last.
    places: BTreeMap<String, GrowingLine>,
    /// Whether plugins got fresh instances. What they show then is no longer recorded, because they
    /// all grow as after a start.
    is_deployed: bool,
}

impl Baseline {
    /// A player of a game with these aliases.
    #[must_use]
    pub fn new(plugins: Vec<String>, duration: Duration) -> Self {
        Baseline {
            duration: duration.as_secs_f64(),
            series: plugins.iter().map(|_| Series::default()).collect(),
            plugins,
            resident: Vec::new(),
            limit: None,
            traces: Vec::new(),
            places: BTreeMap::new(),
            is_deployed: false,
        }
    }

    /// Remembers a view.
    fn record(&mut self, view: &View) {
        let Observation {
            elapsed_seconds: at,
            requests,
            process,
            plugins,
        } = &view.observation;
        self.limit = process.limit_bytes.map(|bytes| bytes as f64);
        let resident = process.rss_bytes as f64;
        let before = self.resident.last().map_or(0.0, |(_, bytes)| *bytes);
        self.resident.push((*at, resident));
        self.is_deployed |= resident < before * (1.0 - DEPLOY_FALL);
        if self.is_deployed {
            return;
        }
        for (alias, series) in self.plugins.iter().zip(&mut self.series) {
            let mut readings = plugins.iter().flatten();
            let reading = readings.find(|reading| reading.plugin == *alias);
            let live = match reading.and_then(|reading| reading.live_bytes) {
                Some(bytes) => bytes as f64,
                None => series.last() + traced_change(alias, &view.traces),
            };
            series.push(*at, *requests as f64, live);
        }
        self.traces.extend(view.traces.iter().cloned());
        // From the smallest to the largest, so that the largest one stays.
        let places = view.growing.iter().rev().cloned();
        self.places
            .extend(places.map(|line| (line.plugin.clone(), line)));
    }
}

impl Agent for Baseline {
    fn next(&mut self, view: &View) -> Move {
        self.record(view);
        if view.observation.elapsed_seconds < WATCHED_SHARE * self.duration {
            return Move::Wait(Duration::from_secs_f64(
                (LOOK_SHARE * self.duration).max(0.1),
            ));
        }
        Move::Submit(Box::new(judge::answer(self)))
    }
}

/// The change of a plugin's live bytes in these requests.
fn traced_change(alias: &str, traces: &[Trace]) -> f64 {
    let spans = traces.iter().flat_map(|trace| &trace.plugins);
    let of_plugin = spans.filter(|span| span.plugin == alias);
    let changes = of_plugin.filter_map(|span| span.live_bytes_delta);
    changes.map(|bytes| bytes as f64).sum()
}

#[cfg(test)]
mod tests;
