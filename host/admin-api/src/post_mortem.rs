//! `GET /admin/post-mortem`: the last readings of the last run that did not shut down cleanly.

mod recorder;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json_};
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::state::ApiState;
use plugin_host::blocking::run_blocking;

pub use recorder::record_until_stopped;

/// With at least this share of the limit in use, the most likely cause of death is the limit.
const NEAR_LIMIT_PERCENT: f64 = 90.0;

/// The end of the last run on this address that did not shut down cleanly.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PostMortemBody {
    /// `found`; `none` if every run on this address shut down cleanly; `off` if the host keeps no
    /// readings.
    status: &'static str,
    /// The status in one sentence.
    message: String,
    /// The cause that the run recorded; null if it had no time to do so, as with SIGKILL.
    cause: Option<String>,
    /// When the last readings were written, RFC 3339, UTC. The run ended at most some seconds
    /// later.
    #[schema(format = DateTime)]
    last_seen: Option<String>,
    /// The last readings: `started`, `service`, `version`, `requests`, `memory` as in
    /// `/admin/memory`, `snapshot` as in `/admin/memory/snapshot`, `history` as in
    /// `/admin/memory/history`, and `samples` of `[seconds since 1970, resident bytes, requests]`.
    /// `snapshot` has only plugins that received requests. If the document is too large, `history`
    /// is null, and with very many plugins `memory` has only plugins that received requests.
    #[schema(value_type = Option<Object>)]
    last: Option<Map<String, Json_>>,
}

/// The last readings of the last run on this address that did not shut down cleanly. A running host
/// keeps its readings on disk; the next run serves them.
#[utoipa::path(get, path = "/admin/post-mortem", tag = "memory", responses((status = 200, body = PostMortemBody)))]
pub(crate) async fn post_mortem(
    State(state): State<Arc<ApiState>>,
) -> Result<Json<PostMortemBody>, ApiError> {
    let nothing = |status, message: &str| PostMortemBody {
        status,
        message: message.to_owned(),
        cause: None,
        last_seen: None,
        last: None,
    };
    if let Some(why) = state.post_mortem.unusable() {
        let message = format!("This host keeps no readings: {why}.");
        return Ok(Json(nothing("off", &message)));
    }
    if !state.post_mortem.is_enabled() {
        return Ok(Json(nothing(
            "off",
            "This host keeps no readings: it runs with --no-post-mortem, without a cache folder, or on port 0. \
             --post-mortem DIR keeps them in a folder.",
        )));
    }
    let post_mortem = state.post_mortem.clone();
    let previous = run_blocking(move || Ok(post_mortem.previous_run())).await?;
    let previous = match previous {
        Ok(previous) => previous,
        Err(error) => {
            let message = format!("The readings of an earlier run cannot be read: {error}.");
            return Ok(Json(nothing("none", &message)));
        }
    };
    let Some(previous) = previous else {
        return Ok(Json(nothing(
            "none",
            "Every run on this address shut down cleanly.",
        )));
    };
    // A damaged document still proves that the run did not shut down cleanly.
    let last: Option<Map<String, Json_>> = serde_json::from_slice(&previous.document).ok();
    let percent = last
        .as_ref()
        .and_then(|last| last.get("memory"))
        .and_then(|memory| memory.pointer("/process/percent"))
        .and_then(Json_::as_f64)
        .unwrap_or(0.0);
    let message = match &previous.cause {
        _ if last.is_none() => {
            "A previous run was killed or crashed. Its last readings cannot be read.".to_owned()
        }
        Some(cause) => format!("A previous run ended: {cause}"),
        None if percent >= NEAR_LIMIT_PERCENT => format!(
            "A previous run was killed, most likely for its memory: {percent:.0} % was in use."
        ),
        None => "A previous run was killed or crashed.".to_owned(),
    };
    Ok(Json(PostMortemBody {
        status: "found",
        message,
        cause: previous.cause,
        last_seen: rfc3339(previous.written_at),
        last,
    }))
}

/// Whether the readings of the previous run have this line of a plugin.
pub(crate) async fn names(
    state: &ApiState,
    plugin: &str,
    location: &str,
) -> Result<bool, ApiError> {
    let post_mortem = state.post_mortem.clone();
    let previous = run_blocking(move || Ok(post_mortem.previous_run())).await?;
    let document = previous.ok().flatten().map(|run| run.document);
    let document: Json_ = serde_json::from_slice(&document.unwrap_or_default()).unwrap_or_default();
    let rows = ["/memory/heap/top_allocations", "/snapshot/by_line"]
        .into_iter()
        .filter_map(|list| document.pointer(list)?.as_array())
        .flatten();
    let is = |row: &Json_, field: &str, wanted: &str| {
        row.get(field).and_then(Json_::as_str) == Some(wanted)
    };
    let mut lines = rows.filter(|row| is(row, "plugin", plugin));
    Ok(lines.any(|row| is(row, "location", location)))
}

fn rfc3339(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}
