//! `GET /admin/post-mortem`: what held the memory when the host died the last time.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use guest_heap::snapshot::GroupBy;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json_, json};
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use super::Lab;
use super::error::ApiError;
use super::heap_query::{CheckedQuery, HeapQuery};
use super::{memory, snapshot};
use lab::heap::Selection;
use lab::post_mortem::{
    MAX_DOCUMENT_BYTES, NEAR_LIMIT, PostMortem, WRITE_INTERVAL, WRITE_INTERVAL_NEAR_LIMIT,
};
use plugin_host::blocking::run_blocking;

/// Points of the process's memory over time in a document.
const SAMPLES: usize = 300;

/// The share of the limit from which on a death without a word is put down to it.
const FULL: f64 = 90.0;

/// What is known of the last death.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PostMortemBody {
    /// `found`, `none` when no host on this address has died, or `off`.
    status: &'static str,
    /// The same for people.
    message: String,
    /// What the host itself said of its end; null when it had no time to say anything, as with SIGKILL.
    cause: Option<String>,
    /// When the last readings were written, RFC 3339, UTC: the death came at most some seconds later.
    #[schema(format = DateTime)]
    last_seen: Option<String>,
    /// The last readings: `started`, `service`, `version`, `requests`, `memory` as in /admin/memory, `snapshot`
    /// as in /admin/memory/snapshot of the plugins that have had requests, `history` as in /admin/memory/history (null if
    /// it was too large; of a great many plugins, `memory` has only those too), and
    /// `samples` of `[seconds since 1970, resident bytes, requests]`.
    #[schema(value_type = Option<Object>)]
    last: Option<Map<String, Json_>>,
}

/// What the last host on this address knew before it died: kept on disk, and served by the next one.
#[utoipa::path(get, path = "/admin/post-mortem", tag = "memory", responses((status = 200, body = PostMortemBody)))]
pub(super) async fn post_mortem(
    State(lab): State<Arc<Lab>>,
) -> Result<Json<PostMortemBody>, ApiError> {
    let nothing = |status, message: &str| PostMortemBody {
        status,
        message: message.to_owned(),
        cause: None,
        last_seen: None,
        last: None,
    };
    if !lab.post_mortem.is_enabled() {
        return Ok(Json(nothing(
            "off",
            "Nothing is kept: the host runs with --no-post-mortem, without a cache folder, or on a port of its own choice; --post-mortem DIR keeps the last readings there.",
        )));
    }
    let kept = lab.post_mortem.clone();
    let previous = run_blocking(move || Ok(kept.previous_run())).await?;
    let Some(death) = previous.map_err(|error| ApiError::internal(&error))? else {
        return Ok(Json(nothing("none", "No host has died on this address.")));
    };
    // A disk has faults of its own: that somebody died is known all the same.
    let last: Option<Map<String, Json_>> = serde_json::from_slice(&death.document).ok();
    let percent = last
        .as_ref()
        .and_then(|last| last.get("memory"))
        .and_then(|memory| memory.pointer("/process/percent"))
        .and_then(Json_::as_f64)
        .unwrap_or(0.0);
    let message = match &death.cause {
        _ if last.is_none() => "A host died, and what it left cannot be read.".to_owned(),
        Some(cause) => format!("The last host said: {cause}"),
        None if percent >= FULL => format!(
            "The last host died without a word, {percent:.0} % of its memory in use: killed for that, most likely."
        ),
        None => "The last host died without a word: it was killed, or it crashed.".to_owned(),
    };
    Ok(Json(PostMortemBody {
        status: "found",
        message,
        cause: death.cause,
        last_seen: time(death.written_at),
        last,
    }))
}

fn time(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// Writes down what is known, every few seconds if something has changed, until the task is dropped.
pub async fn keep(lab: Arc<Lab>) {
    if !lab.post_mortem.is_enabled() {
        return;
    }
    let started = Timestamp::now();
    let mut ticks = interval(WRITE_INTERVAL_NEAR_LIMIT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written: Option<(Instant, Option<Changing>)> = None;
    let mut failing = false;
    loop {
        ticks.tick().await;
        let now = Changing::of(&lab);
        let every = match lab.monitor.process_forecast().seconds_to_limit {
            Some(seconds) if seconds < NEAR_LIMIT.as_secs_f64() => WRITE_INTERVAL_NEAR_LIMIT,
            _ => WRITE_INTERVAL,
        };
        let due = written.is_none_or(|(at, known)| {
            at.elapsed() >= every && known.is_none_or(|known| known.is_outdated_by(&now))
        });
        if !due {
            continue;
        }
        let outcome = match document(&lab, started, now.requests).await {
            Ok(document) => record(lab.post_mortem.clone(), document).await,
            Err(error) => Err(format!("{error:?}")),
        };
        written = Some((Instant::now(), outcome.is_ok().then_some(now)));
        // A disk that is full stays full for a while: one line is enough.
        match outcome {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error, "the last readings cannot be kept for a post-mortem");
            }
            Err(_again) => {}
        }
    }
}

/// What makes a document outdated.
#[derive(Debug, Clone, Copy)]
struct Changing {
    requests: u64,
    /// Plugins and their instances so far, all together.
    instances: u64,
    resident_bytes: u64,
}

/// Memory that has come or gone since a document: this part of what was resident.
const OUTDATED_BY: u64 = 32;

impl Changing {
    fn of(lab: &Lab) -> Self {
        let plugins = lab.registry.plugins();
        let instances = plugins
            .iter()
            .map(|p| p.incarnation() + p.reading().generation);
        let sample = lab.monitor.history().process_samples(1).pop();
        Changing {
            requests: lab.requests(),
            instances: instances.sum(),
            resident_bytes: sample.map_or(0, |(_, bytes, _)| bytes),
        }
    }

    /// Without a request nothing is allocated, but memory can be given back, and components can be loaded.
    fn is_outdated_by(&self, now: &Self) -> bool {
        let moved = self.resident_bytes.abs_diff(now.resident_bytes);
        (self.requests, self.instances) != (now.requests, now.instances)
            || moved > self.resident_bytes / OUTDATED_BY
    }
}

async fn record(post_mortem: PostMortem, document: Vec<u8>) -> Result<(), String> {
    run_blocking(move || Ok(post_mortem.record(&document)))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

/// Everything that the admin API knows about memory now, in one document within [`MAX_DOCUMENT_BYTES`].
async fn document(lab: &Arc<Lab>, started: Timestamp, requests: u64) -> Result<Vec<u8>, ApiError> {
    let query = || CheckedQuery(HeapQuery::default());
    let Json(memory) = memory::memory(State(lab.clone())).await?;
    // Of those that have done something: the symbols of the others are not worth reading.
    let mut active = Vec::clone(&lab.registry.plugins());
    active.retain(|plugin| plugin.reading().requests > 0);
    let snapshot = snapshot::of_plugins(
        lab,
        (&active, Selection::All),
        GroupBy::Line,
        snapshot::LINES,
    )
    .await?;
    let Json(history) = snapshot::history(State(lab.clone()), query()).await?;
    let samples = lab.monitor.history().process_samples(SAMPLES);
    let mut document = json!({
        "service": lab.service_name,
        "version": env!("CARGO_PKG_VERSION"),
        "started": started.to_string(),
        "requests": requests,
        "memory": memory,
        "snapshot": snapshot,
        "history": history,
        "samples": samples,
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
