//! Measures every request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Lab;

/// Measures one request.
pub(super) async fn measure(State(_lab): State<Arc<Lab>>, request: Request, next: Next) -> Response {
    next.run(request).await
}
