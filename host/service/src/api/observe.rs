//! Measures every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Lab;

/// The `endpoint` of whatever matched no route: a client must not be able to make series.
const UNMATCHED: &str = "unmatched";

/// Counts and times one request.
pub(super) async fn measure(State(lab): State<Arc<Lab>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let endpoint = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    lab.metrics
        .http
        .observe(&method, endpoint, response.status(), started.elapsed());
    response
}
