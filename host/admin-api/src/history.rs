//! `GET /admin/memory/history`: live bytes by source line over time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use guest_heap::history::{History, Series};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorBody};
use crate::heap_query::HeapQuery;
use crate::query::ApiQuery;
use crate::state::ApiState;

/// Series per plugin, unless the query has a `limit`.
const DEFAULT_SERIES: usize = 10;

/// The most points of one series: a chart cannot show more.
const MAX_POINTS: usize = 300;

/// Live bytes of one line over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesRow {
    plugin: String,
    /// The source line; `other` for the sum of all lines without a series of their own.
    location: String,
    /// Pairs of seconds since 1970-01-01T00:00:00Z and live bytes.
    #[schema(value_type = Vec<Vec<f64>>)]
    points: Vec<(f64, u64)>,
}

/// Live bytes by source line over the last fifteen minutes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryBody {
    /// The time that the history covers.
    window_seconds: f64,
    /// The shortest time between two points.
    resolution_seconds: f64,
    /// For each plugin, the lines that grew most and the sum of the others.
    series: Vec<SeriesRow>,
}

/// Live bytes by source line over the last fifteen minutes, from one reading a second.
#[utoipa::path(get, path = "/admin/memory/history", tag = "memory", params(
        ("plugin" = Option<String>, Query, description = "The id of one plugin; all plugins by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Lines; ten by default")),
    responses((status = 200, body = HistoryBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn history(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Json<HistoryBody>, ApiError> {
    Ok(Json(of_query(&state, &query)?))
}

/// The history that a query asks for.
pub(crate) fn of_query(state: &ApiState, query: &HeapQuery) -> Result<HistoryBody, ApiError> {
    let limit = query.limit_or(DEFAULT_SERIES)?;
    let now = state.heaps.now();
    let unix_seconds = Timestamp::now().as_millisecond() as f64 / 1e3;
    let (mut covered, mut resolution) = (Duration::ZERO, Duration::ZERO);
    let mut series = Vec::new();
    for plugin in query.plugins(state)? {
        let of_plugin = state.heaps.with_history(&plugin, |history: &History| {
            covered = covered.max(history.covered());
            resolution = resolution.max(history.resolution());
            history.series(limit, MAX_POINTS)
        });
        let row = |line: Series| SeriesRow {
            plugin: plugin.id().to_owned(),
            location: line.site.location.to_string(),
            points: line
                .points
                .into_iter()
                .map(|(at, bytes)| (unix_seconds - now.saturating_sub(at).as_secs_f64(), bytes))
                .collect(),
        };
        series.extend(of_plugin.into_iter().map(row));
    }
    Ok(HistoryBody {
        window_seconds: covered.as_secs_f64(),
        resolution_seconds: resolution.as_secs_f64(),
        series,
    })
}
