//! Writes the readings that the next run serves as a post-mortem.

use std::sync::Arc;
use std::time::Instant;

use guest_heap::snapshot::GroupBy;
use jiff::Timestamp;
use serde_json::{Value as Json_, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::error::ApiError;
use crate::exercise_progress::{Action, DOCUMENT_FIELD};
use crate::heap_query::HeapQuery;
use crate::leak_status::Listing;
use crate::state::ApiState;
use crate::{history, memory, snapshot};
use lab::heap::Selection;
use lab::post_mortem::{
    MAX_DOCUMENT_BYTES, NEAR_LIMIT, PostMortem, WRITE_INTERVAL, WRITE_INTERVAL_NEAR_LIMIT,
};
use plugin_host::blocking::run_blocking;

/// The most samples of the process's memory in a document.
const MAX_SAMPLES: usize = 300;

/// A document is outdated when resident memory has changed by more than this fraction.
const MIN_RESIDENT_CHANGE: f64 = 1.0 / 32.0;

/// Writes the readings every few seconds if they have changed, until the task is dropped.
pub async fn record_until_stopped(state: Arc<ApiState>) {
    if !state.post_mortem.is_enabled() {
        return;
    }
    let started = Timestamp::now();
    let mut ticks = interval(WRITE_INTERVAL_NEAR_LIMIT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written: Option<(Instant, Option<Fingerprint>)> = None;
    let mut failing = false;
    loop {
        ticks.tick().await;
        let now = Fingerprint::of(&state);
        let every = match state.monitor.process_forecast().seconds_to_limit {
            Some(seconds) if seconds < NEAR_LIMIT.as_secs_f64() => WRITE_INTERVAL_NEAR_LIMIT,
            _ => WRITE_INTERVAL,
        };
        let due = written.is_none_or(|(at, before)| {
            at.elapsed() >= every && before.is_none_or(|before| before.is_outdated_by(&now))
        });
        if !due {
            continue;
        }
        let outcome = match document(&state, started, now.requests).await {
            Ok(document) => record(state.post_mortem.clone(), document).await,
            Err(error) => Err(error.to_string()),
        };
        written = Some((Instant::now(), outcome.is_ok().then_some(now)));
        // A full disk stays full for a while, so the warning is logged once.
        match outcome {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error, "cannot write the readings for a post-mortem");
            }
            Err(_again) => {}
        }
    }
}

/// The numbers that tell whether a document is outdated.
#[derive(Debug, Clone, Copy)]
struct Fingerprint {
    requests: u64,
    /// Grows with every plugin that is loaded and every instance that starts.
    instances: u64,
    resident_bytes: u64,
}

impl Fingerprint {
    fn of(state: &ApiState) -> Self {
        let plugins = state.registry.plugins();
        let instances = plugins
            .iter()
            .map(|p| p.incarnation() + p.reading().generation);
        let sample = state.monitor.history().process_samples(1).pop();
        Fingerprint {
            requests: state.requests(),
            instances: instances.sum(),
            resident_bytes: sample.map_or(0, |(_, bytes, _)| bytes),
        }
    }

    /// Plugins allocate only during requests. Without any, the memory can still change: it is given
    /// back, or components are loaded.
    fn is_outdated_by(&self, now: &Self) -> bool {
        let moved = self.resident_bytes.abs_diff(now.resident_bytes);
        (self.requests, self.instances) != (now.requests, now.instances)
            || moved as f64 > self.resident_bytes as f64 * MIN_RESIDENT_CHANGE
    }
}

async fn record(post_mortem: PostMortem, document: Vec<u8>) -> Result<(), String> {
    run_blocking(move || Ok(post_mortem.record(&document)))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

/// The memory, the snapshot and the history of the admin API in one document of at most
/// [`MAX_DOCUMENT_BYTES`] bytes.
async fn document(
    state: &ApiState,
    started: Timestamp,
    requests: u64,
) -> Result<Vec<u8>, ApiError> {
    // Without an admin call since the last requests, their steps are not judged yet.
    state.record(&Action::Other);
    let memory = memory::read(state, Listing::All).await?;
    // A plugin without requests is not worth the cost of reading its symbols.
    let mut active = Vec::clone(&state.registry.plugins());
    active.retain(|plugin| plugin.reading().requests > 0);
    let snapshot = snapshot::of_plugins(
        state,
        (&active, Selection::All),
        GroupBy::Line,
        snapshot::DEFAULT_ROWS,
    )
    .await?;
    let history = history::of_query(state, &HeapQuery::default())?;
    let samples = state.monitor.history().process_samples(MAX_SAMPLES);
    let mut document = json!({
        "service": state.options.service_name,
        "version": env!("CARGO_PKG_VERSION"),
        "started": started.to_string(),
        "requests": requests,
        "memory": memory,
        "snapshot": snapshot,
        "history": history,
        "samples": samples,
        (DOCUMENT_FIELD): state.exercises.to_document(),
    });
    let mut text = document.to_string();
    if text.len() > MAX_DOCUMENT_BYTES
        && let Some(history) = document.get_mut("history")
    {
        *history = Json_::Null;
        text = document.to_string();
    }
    if text.len() > MAX_DOCUMENT_BYTES
        && let Some(Json_::Object(plugins)) = document.pointer_mut("/memory/plugins")
    {
        plugins.retain(|id, _| active.iter().any(|plugin| plugin.id() == id));
        text = document.to_string();
    }
    Ok(text.into_bytes())
}
