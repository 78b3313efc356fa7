//! The middleware that measures and traces every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::host_name::require_one_host;
use crate::state::ApiState;
use telemetry::traces::Tracer;

/// The `endpoint` label of a request that matched no route. A client must not be able to create
/// series.
const UNMATCHED: &str = "unmatched";

/// Routes that machines call every few seconds. Their traces would hide all others.
const UNTRACED: [&str; 3] = ["/health", "/health/ready", "/metrics"];

pub(crate) async fn measure(
    State(state): State<Arc<ApiState>>,
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
    let span = if UNTRACED.contains(&template) {
        Tracer::untraced(&request)
    } else {
        state.tracer.request(&request, template)
    };
    let context = span.context().clone();
    request.extensions_mut().insert(context.clone());
    let mut response = match require_one_host(&request) {
        Ok(()) => span.with_trace_id(next.run(request)).await,
        Err(error) => error.into_response(),
    };
    context.inject(response.headers_mut());
    span.end(response.status());
    state.metrics.http.observe(
        &method,
        endpoint,
        response.status(),
        started.elapsed(),
        context.recorded_trace_id(),
    );
    response
}
