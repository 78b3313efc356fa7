//! A name in a path. One that is no text names nothing, and is answered like any other unknown name.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

/// The last variable of a route.
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let nothing = || char::REPLACEMENT_CHARACTER.to_string();
        Ok(Name(name.map_or_else(|_| nothing(), |Path(name)| name)))
    }
}
