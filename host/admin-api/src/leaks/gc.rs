//! `POST /admin/gc`: returns unused memory to the system.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::freed::{LinearMemory, ProcessMemory, StillResident, resident_bytes};
use crate::body::JsonObject;
use crate::catalogue::ListingQuery;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::leak_status::Listing;
use crate::query::ApiQuery;
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
    /// One entry for each plugin of the exercises and each other plugin that was in use; with
    /// `all=true`, for each loaded plugin.
    gc_results: Vec<GcResult>,
    /// How many plugins are left out, and how to list them.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<String>,
    #[serde(flatten)]
    memory: ProcessMemory,
    still_resident: StillResident,
    /// What this call can and cannot free.
    note: &'static str,
}

/// Returns unused memory. A plugin that retains nothing gets a fresh instance, since its linear
/// memory can only shrink that way. Then the host's allocator returns its free pages. Retained
/// objects stay.
#[utoipa::path(post, path = "/admin/gc", tag = "leaks", params(ListingQuery),
    responses((status = 200, body = Collected), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn collect(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<ListingQuery>,
    body: JsonObject,
) -> Result<Json<Collected>, ApiError> {
    body.reject_unknown(&[])?;
    let before = resident_bytes(&state)?;
    let mut gc_results = Vec::new();
    state.record(&Action::Other);
    let mut left_out = 0;
    for plugin in state.registry.plugins().iter() {
        let is_listed = query.all || Listing::Exercises.shows(plugin);
        let done = plugin.recycle().await?;
        if !is_listed && !done.recycled {
            left_out += 1;
            continue;
        }
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
        more: (left_out > 0).then(|| format!("{left_out} that are off: ?all=true lists them")),
        memory: ProcessMemory::since(before, &state)?,
        still_resident: StillResident::now(&state)?,
        note: "WebAssembly has no garbage collector to trigger. A plugin that retains nothing gets a \
               fresh instance, and the host's allocator returns its free pages. Retained objects are \
               never dropped; POST /admin/leaks/clear drops them.",
    }))
}
