//! `GET /admin/leaks/status` and `GET /admin/leaks/{name}`: the state of the leaks.

pub(crate) mod clear;
mod freed;
pub(crate) mod gc;
pub(crate) mod reset;
pub(crate) mod switch;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalogue::ListingQuery;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::leak_status::{LeakStatus, Leaks, ListedLeak, Listing, leak_status};
use crate::path_name::PathName;
use crate::query::ApiQuery;
use crate::state::ApiState;
use crate::units::{difference, mib, signed_mib};

/// The memory of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemorySummary {
    /// Resident memory in MiB.
    rss_mb: f64,
    /// The same in bytes.
    rss_bytes: u64,
    /// Address space in MiB: wasm reserves it and touches little of it.
    vms_mb: f64,
    /// The same in bytes.
    vms_bytes: u64,
    /// Address space that is reserved but not resident, in MiB; only with `all=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_mb: Option<f64>,
    /// The same in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_bytes: Option<u64>,
    /// Growth of the resident memory since the start, in MiB.
    growth_since_start_mb: f64,
    /// The same in bytes.
    growth_since_start_bytes: i64,
    /// The memory limit of the process in MiB; null without a limit.
    limit_mb: Option<f64>,
    /// The same in bytes.
    limit_bytes: Option<u64>,
    /// Resident memory in percent of the limit; null without a limit.
    used_percent_of_limit: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaksStatus {
    /// One field for each leak of the exercises and each other leak that is in use; with
    /// `all=true`, for each loaded plugin. Without `all=true`, a leak has the most important
    /// fields, and the settings that differ from their defaults.
    #[schema(value_type = BTreeMap<String, ListedLeak>)]
    leaks: Leaks,
    /// How many leaks are left out, and where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<String>,
    memory: MemorySummary,
}

/// The leaks of the exercises, every other leak that is in use, and the memory of the process.
#[utoipa::path(get, path = "/admin/leaks/status", tag = "leaks", params(ListingQuery),
    responses((status = 200, body = LeaksStatus), (status = 422, body = ErrorBody)))]
pub(crate) async fn status(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<ListingQuery>,
) -> Result<Json<LeaksStatus>, ApiError> {
    let listing = if query.all {
        Listing::All
    } else {
        Listing::Exercises
    };
    let leaks = Leaks::of(&state, listing);
    state.record(&Action::ReadStatus);
    Ok(Json(LeaksStatus {
        more: leaks.left_out(),
        leaks,
        memory: memory_summary(&state, listing)?,
    }))
}

/// One leak.
#[utoipa::path(get, path = "/admin/leaks/{name}", tag = "leaks", params(("name" = String, Path, description = "The leak")),
    responses((status = 200, body = LeakStatus), (status = 404, body = ErrorBody)))]
pub(crate) async fn show(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
) -> Result<Json<LeakStatus>, ApiError> {
    let plugin = state.leak(&name)?;
    state.record(&Action::ReadStatus);
    Ok(Json(leak_status(&plugin)))
}

fn memory_summary(state: &ApiState, listing: Listing) -> Result<MemorySummary, ApiError> {
    let process = state
        .monitor
        .process()
        .map_err(|e| ApiError::internal(&e))?;
    let budget = state.monitor.budget();
    let rss = process.resident_bytes;
    let growth = difference(rss, state.monitor.history().start_resident_bytes());
    let limit = budget.limit.map(|limit| limit.bytes);
    let is_complete = listing == Listing::All;
    let reserved = is_complete.then(|| process.virtual_bytes.saturating_sub(rss));
    Ok(MemorySummary {
        rss_mb: mib(rss),
        rss_bytes: rss,
        vms_mb: mib(process.virtual_bytes),
        vms_bytes: process.virtual_bytes,
        reserved_mb: reserved.map(mib),
        reserved_bytes: reserved,
        growth_since_start_mb: signed_mib(growth),
        growth_since_start_bytes: growth,
        limit_mb: limit.map(mib),
        limit_bytes: limit,
        used_percent_of_limit: budget.percent_of_limit(rss),
    })
}
