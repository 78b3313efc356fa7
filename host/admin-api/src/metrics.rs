//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::state::ApiState;
use lab::metrics_refresh;

/// All metrics in the Prometheus text format, or in OpenMetrics if `Accept` asks for it.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    metrics_refresh::refresh(
        &state.metrics,
        &state.registry,
        &state.monitor,
        &state.heaps,
    )
    .map_err(|e| ApiError::internal(&e))?;
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let page = state.metrics.render(accept);
    Ok(([(header::CONTENT_TYPE, page.content_type)], page.body).into_response())
}
