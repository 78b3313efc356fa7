//! Query strings of the API.

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
                    shorten(&rejection.body_text()),
                    format!("the query accepts {}", T::NAMES),
                )
            })
    }
}

impl<S: Send + Sync, T: QueryParameters> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        ApiQuery::parse(&parts.uri)
    }
}
