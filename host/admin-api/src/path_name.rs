//! The `{name}` of a path.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

/// The last variable of a route.
///
/// Bytes that are not UTF-8 become U+FFFD. No plugin, leak, baseline or file has that name, so the
/// handler answers with the same 404 as for any other unknown name.
pub struct PathName(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let unknown = || char::REPLACEMENT_CHARACTER.to_string();
        Ok(PathName(name.map_or_else(|_| unknown(), |Path(name)| name)))
    }
}
