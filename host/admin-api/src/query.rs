//! Query strings of the API.

use std::error::Error as _;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, ErrorCode, shorten};

/// The parameters of a query.
pub trait QueryParameters: DeserializeOwned {
    /// The names of the parameters, for the hint of `invalid_query`.
    const NAMES: &str;
}

/// A parsed query. One that does not parse is answered with 422 `invalid_query`.
pub struct ApiQuery<T>(pub T);

impl<T: QueryParameters> ApiQuery<T> {
    pub(crate) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        Query::try_from_uri(uri)
            .map(|Query(query)| ApiQuery(query))
            .map_err(|rejection| {
                ApiError::new(
                    ErrorCode::InvalidQuery,
                    shorten(&reason(&rejection)),
                    format!("the query accepts {}", T::NAMES),
                )
            })
    }
}

/// Why a query does not parse, without what axum says of itself.
fn reason(rejection: &QueryRejection) -> String {
    let source = rejection.source();
    let reason = source.map_or_else(|| rejection.body_text(), ToString::to_string);
    // serde lists the alternatives at the end; for a query they are in the hint.
    reason
        .split(", expected")
        .next()
        .unwrap_or(&reason)
        .to_owned()
}

impl<S: Send + Sync, T: QueryParameters> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        ApiQuery::parse(&parts.uri)
    }
}
