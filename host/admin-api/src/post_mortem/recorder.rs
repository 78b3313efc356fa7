//! Writes the readings that the next run serves as a post-mortem.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_heap::snapshot::GroupBy;
use jiff::Timestamp;
use serde_json::{Value as Json_, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::error::ApiError;
use crate::exercise_progress::{Action, DOCUMENT_FIELD};
use crate::heap_query::{HeapQuery, Rows};
use crate::leak_status::Listing;
use crate::state::ApiState;
use crate::{history, memory, snapshot};
use lab::heap::Selection;
use lab::post_mortem::{
    MAX_DOCUMENT_BYTES, NEAR_LIMIT, NEAR_LIMIT_PERCENT, PostMortem, WRITE_INTERVAL,
    WRITE_INTERVAL_NEAR_LIMIT,
};
use plugin_host::blocking::run_blocking;

/// The most samples of the process's memory in a document.
const MAX_SAMPLES: usize = 300;

/// A document is outdated when resident memory has changed by more than this fraction.
const MIN_RESIDENT_CHANGE: f64 = 1.0 / 32.0;

/// A write that takes long is followed by a pause of this many times as long: on a busy machine the
/// requests come first.
const PAUSE_PER_WRITE: u32 = 4;

/// Writes the readings every few seconds if they have changed, until the task is dropped. Near the
/// limit it writes twice a second, because the kernel kills the process without a warning.
pub async fn record_until_stopped(state: Arc<ApiState>) {
    if !state.post_mortem.is_enabled() {
        return;
    }
    let started = Timestamp::now();
    let mut ticks = interval(WRITE_INTERVAL_NEAR_LIMIT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written: Option<Written> = None;
    let mut failing = false;
    loop {
        ticks.tick().await;
        let now = Fingerprint::of(&state);
        let every = if is_near_limit(&state) {
            WRITE_INTERVAL_NEAR_LIMIT
        } else {
            WRITE_INTERVAL
        };
        if !written.is_none_or(|written| written.is_due(every, &now)) {
            continue;
        }
        let begun = Instant::now();
        let outcome = match document(&state, started, now.requests).await {
            Ok(document) => record(state.post_mortem.clone(), document).await,
            Err(error) => Err(error.to_string()),
        };
        written = Some(Written {
            begun,
            took: begun.elapsed(),
            readings: outcome.is_ok().then_some(now),
        });
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

/// Whether the process is near its limit by its forecast, or by what it uses.
fn is_near_limit(state: &ApiState) -> bool {
    let monitor = &state.monitor;
    let forecast = monitor.process_forecast().seconds_to_limit;
    let resident = monitor.resident_bytes().unwrap_or_default();
    let percent = monitor.budget().percent_of_limit(resident);
    forecast.is_some_and(|seconds| seconds < NEAR_LIMIT.as_secs_f64())
        || percent.is_some_and(|percent| percent > NEAR_LIMIT_PERCENT)
}

/// The last write.
#[derive(Debug, Clone, Copy)]
struct Written {
    begun: Instant,
    took: Duration,
    /// What was written; `None` if the write failed.
    readings: Option<Fingerprint>,
}

impl Written {
    /// Whether `every` has passed since the write began and its readings are outdated.
    fn is_due(&self, every: Duration, now: &Fingerprint) -> bool {
        // The ticks are not exact to the millisecond.
        let tolerance = WRITE_INTERVAL_NEAR_LIMIT / 4;
        self.begun.elapsed() + tolerance >= every.max(self.took * (1 + PAUSE_PER_WRITE))
            && self
                .readings
                .is_none_or(|written| written.is_outdated_by(now))
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
        Rows::Each(snapshot::ALL_ROWS),
        true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_due_after_its_interval_if_it_is_outdated() {
        let readings = Fingerprint {
            requests: 1,
            instances: 1,
            resident_bytes: 1 << 20,
        };
        let more = Fingerprint {
            requests: 2,
            ..readings
        };
        let written = |took| Written {
            begun: Instant::now() - Duration::from_millis(450),
            took,
            readings: Some(readings),
        };
        let quick = written(Duration::from_millis(10));
        assert!(
            quick.is_due(WRITE_INTERVAL_NEAR_LIMIT, &more),
            "by one tick"
        );
        assert!(!quick.is_due(WRITE_INTERVAL_NEAR_LIMIT, &readings));
        assert!(!quick.is_due(Duration::from_secs(500), &more));
        let slow = written(Duration::from_secs(100));
        assert!(!slow.is_due(WRITE_INTERVAL_NEAR_LIMIT, &more));
        let failed = Written {
            readings: None,
            ..quick
        };
        assert!(failed.is_due(WRITE_INTERVAL_NEAR_LIMIT, &readings));
    }
}
