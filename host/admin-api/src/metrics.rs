//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Lab;
use super::error::ApiError;
use lab::metrics_refresh;

/// All metrics as Prometheus text, or as OpenMetrics when `Accept` asks for that.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(
    State(lab): State<Arc<Lab>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    metrics_refresh::refresh(&lab.metrics, &lab.registry, &lab.monitor, &lab.heaps)
        .map_err(|e| ApiError::internal(&e))?;
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let page = lab.metrics.render(accept);
    Ok(([(header::CONTENT_TYPE, page.content_type)], page.body).into_response())
}
