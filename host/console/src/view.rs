//! What a page shows: the query of its event stream.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;

use admin_api::error::ApiError;

/// The part of a page that its updates depend on. Pages with equal views share their updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct View {
    /// The time that the charts show.
    pub(crate) window: Duration,
    /// Whether the page has room for large charts.
    pub(crate) wide: bool,
    /// A moment that the charts mark, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) moment: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewQuery {
    window: Option<String>,
    wide: Option<bool>,
    at: Option<i64>,
}

impl<S: Send + Sync> FromRequestParts<S> for View {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<ViewQuery>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::invalid_value("query", "takes window, wide and at"))?;
        let minutes = match query.window.as_deref() {
            Some("1m") => 1,
            None | Some("5m") => 5,
            Some("15m") => 15,
            Some(_) => return Err(ApiError::invalid_value("window", "takes 1m, 5m or 15m")),
        };
        Ok(View {
            window: Duration::from_secs(60 * minutes),
            wide: query.wide.unwrap_or(true),
            moment: query.at,
        })
    }
}
