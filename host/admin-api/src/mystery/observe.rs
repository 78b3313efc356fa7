//! What players see in one place: numbers and traces.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::no_mystery;
use crate::error::{ApiError, ErrorBody};
use crate::mystery_run::TraceRow;
use crate::query::{ApiQuery, QueryParameters};
use crate::state::ApiState;

/// Traces in an answer, unless the query has a `limit`.
const DEFAULT_TRACES: usize = 20;

/// What a player sees now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Observation {
    /// Time since the start of the game.
    elapsed_seconds: f64,
    /// Requests that the game has sent.
    requests: u64,
    /// Those that were answered with status 500 or above.
    errors: u64,
    process: ObservedProcess,
    /// The plugins, at the levels 1 to 3; null at the levels 4 and 5.
    plugins: Option<Vec<ObservedPlugin>>,
}

/// The process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObservedProcess {
    rss_bytes: u64,
    /// Null without a limit.
    limit_bytes: Option<u64>,
}

/// A plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObservedPlugin {
    plugin: String,
    linear_memory_bytes: u64,
    /// Null without attribution.
    heap_live_bytes: Option<u64>,
    /// Requests that its present instance got.
    requests: u64,
    /// The number of its instance, from 1.
    generation: u64,
    /// `running`, `exhausted` or `faulted`.
    state: &'static str,
}

/// The last requests of the game.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Traces {
    /// The newest first.
    traces: Vec<TraceRow>,
}

/// The parameters of the traces.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TracesQuery {
    /// The most traces; 20 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl QueryParameters for TracesQuery {
    const NAMES: &str = "limit";
}

/// What a player sees now: the process and, at the levels 1 to 3, the memory of each plugin.
#[utoipa::path(get, path = "/admin/mystery/observe", tag = "mystery",
    responses((status = 200, body = Observation), (status = 404, body = ErrorBody)))]
pub(crate) async fn observe(
    State(state): State<Arc<ApiState>>,
) -> Result<Json<Observation>, ApiError> {
    let session = state.mystery.session().ok_or_else(no_mystery)?;
    let rss = state.monitor.resident_bytes();
    let (requests, errors) = session.counts();
    let shows_plugins = session.game.visibility().shows_plugins();
    Ok(Json(Observation {
        elapsed_seconds: session.elapsed().as_secs_f64(),
        requests,
        errors,
        process: ObservedProcess {
            rss_bytes: rss.map_err(|error| ApiError::internal(&error))?,
            limit_bytes: state.monitor.budget().limit_bytes(),
        },
        plugins: shows_plugins.then(|| plugins(&state)),
    }))
}

pub(super) fn plugins(state: &ApiState) -> Vec<ObservedPlugin> {
    let plugins = state.registry.plugins();
    let plugins = plugins.iter().map(|plugin| {
        let reading = plugin.reading();
        ObservedPlugin {
            plugin: plugin.id().to_owned(),
            linear_memory_bytes: reading.linear.bytes,
            heap_live_bytes: reading.heap_live,
            requests: reading.requests,
            generation: reading.generation,
            state: plugin.details().state.name(),
        }
    });
    plugins.collect()
}

/// The last requests of the game: which plugins ran, and what each request left on their heaps.
#[utoipa::path(get, path = "/admin/mystery/traces", tag = "mystery", params(TracesQuery),
    responses((status = 200, body = Traces), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn traces(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<TracesQuery>,
) -> Result<Json<Traces>, ApiError> {
    let session = state.mystery.session().ok_or_else(no_mystery)?;
    let limit = match query.limit {
        None => DEFAULT_TRACES,
        Some(limit @ 1..=1000) => limit as usize,
        Some(_) => return Err(ApiError::invalid_value("limit", "takes 1 to 1000")),
    };
    Ok(Json(Traces {
        traces: session.traces(limit),
    }))
}
