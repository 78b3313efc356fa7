//! `POST /admin/gc`: returns unused memory to the system.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::freed::{LinearMemory, ProcessMemory, StillResident, resident_bytes};
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::state::ApiState;
use process_memory::allocator;

/// The result for one plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GcResult {
    /// The plugin's id.
    plugin: String,
    /// Whether the plugin got a fresh instance.
    recycled: bool,
    #[serde(flatten)]
    linear_memory: LinearMemory,
    /// Why the plugin got a fresh instance, or why not.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Collected {
    /// One entry per plugin.
    gc_results: Vec<GcResult>,
    #[serde(flatten)]
    memory: ProcessMemory,
    still_resident: StillResident,
    /// What this call can and cannot free.
    note: &'static str,
}

/// Returns unused memory. A plugin that retains nothing gets a fresh instance, since its linear
/// memory can only shrink that way. Then the host's allocator returns its free pages. Retained
/// objects stay.
#[utoipa::path(post, path = "/admin/gc", tag = "leaks",
    responses((status = 200, body = Collected), (status = 503, body = ErrorBody)))]
pub(crate) async fn collect(
    State(state): State<Arc<ApiState>>,
    body: JsonObject,
) -> Result<Json<Collected>, ApiError> {
    body.reject_unknown(&[])?;
    let before = resident_bytes(&state)?;
    let mut gc_results = Vec::new();
    state.record(&Action::Other);
    for plugin in state.registry.plugins().iter() {
        let done = plugin.recycle().await?;
        gc_results.push(GcResult {
            plugin: plugin.id().to_owned(),
            recycled: done.recycled,
            linear_memory: LinearMemory::new(done.linear_before, done.linear_after),
            reason: done.reason,
        });
    }
    allocator::release_free_pages();
    let recycled = gc_results
        .iter()
        .filter(|result: &&GcResult| result.recycled);
    state.record(&Action::Collected {
        recycled: recycled.map(|result| result.plugin.clone()).collect(),
    });
    Ok(Json(Collected {
        gc_results,
        memory: ProcessMemory::since(before, &state)?,
        still_resident: StillResident::now(&state)?,
        note: "WebAssembly has no garbage collector to trigger. A plugin that retains nothing gets a \
               fresh instance, and the host's allocator returns its free pages. Retained objects are \
               never dropped; POST /admin/leaks/clear drops them.",
    }))
}
