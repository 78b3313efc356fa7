//! `POST /admin/leaks/{name}/reset` and `POST /admin/reset`: fresh instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::freed::{LinearMemory, ProcessMemory, resident_bytes};
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::path_name::PathName;
use crate::state::ApiState;
use process_memory::allocator;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reset {
    /// The leak's name.
    leak: String,
    /// The number of the fresh instance.
    generation: u64,
    #[serde(flatten)]
    memory: ProcessMemory,
    #[serde(flatten)]
    linear_memory: LinearMemory,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllReset {
    /// `all`.
    reset: &'static str,
    /// The number of each plugin's fresh instance.
    generations: BTreeMap<String, u64>,
    #[serde(flatten)]
    memory: ProcessMemory,
}

/// Drops the instance and starts a fresh one with the same settings.
#[utoipa::path(post, path = "/admin/leaks/{name}/reset", tag = "leaks", params(("name" = String, Path, description = "The leak")),
    responses((status = 200, body = Reset), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn reset(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
    body: JsonObject,
) -> Result<Json<Reset>, ApiError> {
    body.reject_unknown(&[])?;
    let plugin = state.leak(&name)?;
    let before = resident_bytes(&state)?;
    state.record(&Action::Other);
    let retained = plugin.reading().retained.objects;
    let done = plugin.reset(false).await?;
    allocator::release_free_pages();
    record(&state, &name, retained);
    Ok(Json(Reset {
        leak: name,
        generation: done.generation,
        memory: ProcessMemory::since(before, &state)?,
        linear_memory: LinearMemory::new(done.linear_before, done.linear_after),
    }))
}

/// A fresh instance is a clear and a gc in one.
fn record(state: &ApiState, name: &str, retained: u64) {
    if retained > 0 {
        state.record(&Action::Cleared {
            dropped: vec![name.to_owned()],
        });
    }
    state.record(&Action::Collected {
        recycled: vec![name.to_owned()],
    });
}

/// Resets everything to the state at the start: leaks off, settings at their defaults, instances
/// fresh, no baselines.
#[utoipa::path(post, path = "/admin/reset", tag = "leaks",
    responses((status = 200, body = AllReset), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn reset_all(
    State(state): State<Arc<ApiState>>,
    body: JsonObject,
) -> Result<Json<AllReset>, ApiError> {
    body.reject_unknown(&[])?;
    let before = resident_bytes(&state)?;
    let mut generations = BTreeMap::new();
    let mut failed = None;
    state.record(&Action::Other);
    for plugin in state.registry.plugins().iter() {
        match plugin.reset(true).await {
            Ok(done) => drop(generations.insert(plugin.id().to_owned(), done.generation)),
            Err(error) => failed = Some(error),
        }
    }
    state.record(&Action::Other);
    if let Some(error) = failed {
        return Err(error.into());
    }
    state.baselines.clear();
    allocator::release_free_pages();
    Ok(Json(AllReset {
        reset: "all",
        generations,
        memory: ProcessMemory::since(before, &state)?,
    }))
}
