//! Measures every request.

use std::sync::Arc;
use std::time::Instant;

use super::Lab;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

/// The `endpoint` of whatever matched no route: a client must not be able to make series.
const UNMATCHED: &str = "unmatched";

/// Counts and times one request.
pub(super) async fn measure(
    State(lab): State<Arc<Lab>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let template = route.as_ref().map_or("", MatchedPath::as_str);
    let endpoint = if template.is_empty() {
        UNMATCHED
    } else {
        template
    };
    let span = lab.tracer.request(&request, template);
    let context = span.context().clone();
    request.extensions_mut().insert(context.clone());
    let mut response = span.with_trace_id(next.run(request)).await;
    context.inject(response.headers_mut());
    span.end(response.status());
    lab.metrics
        .http
        .observe(&method, endpoint, response.status(), started.elapsed());
    response
}
