//! `POST /admin/leaks/clear`: drops the objects that leaks retain.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value as Json_;
use utoipa::ToSchema;

use super::freed::Freed;
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::state::ApiState;

/// The answer for one leak.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClearedOne {
    /// The leak's name.
    cleared: String,
    /// `UNIT_removed` with the number of objects: `entries_removed`, `callbacks_removed`, …
    #[serde(flatten)]
    removed: BTreeMap<String, u64>,
    /// Memory freed inside the guest.
    #[serde(flatten)]
    freed: Freed,
}

/// The answer for all leaks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClearedAll {
    /// `all`.
    cleared: &'static str,
    /// The number of objects removed, by leak.
    removed: BTreeMap<String, u64>,
    total_removed: u64,
    /// Memory freed inside the guests.
    #[serde(flatten)]
    freed: Freed,
    /// The leaks that were not cleared, with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_cleared: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Cleared {
    One(ClearedOne),
    All(ClearedAll),
}

/// Drops the objects that a pattern retains, inside the guest: `{"leak_type": "cache"}`, or all
/// leaks without a body. The leak stays on, and linear memory does not shrink.
#[utoipa::path(post, path = "/admin/leaks/clear", tag = "leaks",
    request_body(content = Object, description = "`leak_type`: a leak's name, or `all`"),
    responses((status = 200, body = Cleared), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn clear(
    State(state): State<Arc<ApiState>>,
    mut body: JsonObject,
) -> Result<Json<Cleared>, ApiError> {
    let leak = match body.take("leak_type") {
        None => None,
        Some(Json_::String(name)) => Some(name).filter(|name| name != "all"),
        Some(_) => {
            return Err(ApiError::invalid_value(
                "leak_type",
                "takes a leak's name, or \"all\"",
            ));
        }
    };
    body.reject_unknown(&["leak_type"])?;
    Ok(Json(match leak {
        Some(name) => Cleared::One(clear_one(&state, name).await?),
        None => Cleared::All(clear_all(&state).await),
    }))
}

async fn clear_one(state: &ApiState, name: String) -> Result<ClearedOne, ApiError> {
    let plugin = state.leak(&name)?;
    state.record(&Action::Other);
    let removed = plugin.clear().await?.removed;
    record(state, [(&name, removed.objects)]);
    let field = format!("{}_removed", plugin.details().manifest.unit);
    Ok(ClearedOne {
        cleared: name,
        removed: BTreeMap::from([(field, removed.objects)]),
        freed: Freed::bytes(signed(removed.bytes)),
    })
}

async fn clear_all(state: &ApiState) -> ClearedAll {
    let (mut removed, mut not_cleared) = (BTreeMap::new(), BTreeMap::new());
    let (mut objects, mut bytes) = (0, 0);
    state.record(&Action::Other);
    for plugin in state.registry.plugins().iter() {
        let id = plugin.id().to_owned();
        match plugin.clear().await {
            Ok(clearing) => {
                removed.insert(id, clearing.removed.objects);
                objects += clearing.removed.objects;
                bytes += clearing.removed.bytes;
            }
            // A plugin that is not running does not keep the others from being cleared.
            Err(error) => {
                not_cleared.insert(id, error.to_string());
            }
        }
    }
    record(state, removed.iter().map(|(id, objects)| (id, *objects)));
    ClearedAll {
        cleared: "all",
        removed,
        total_removed: objects,
        freed: Freed::bytes(signed(bytes)),
        not_cleared,
    }
}

/// Records which leaks have dropped objects.
fn record<'a>(state: &ApiState, removed: impl IntoIterator<Item = (&'a String, u64)>) {
    let removed = removed.into_iter().filter(|(_, objects)| *objects > 0);
    let dropped = removed.map(|(id, _)| id.clone()).collect();
    state.record(&Action::Cleared { dropped });
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
