//! Access to the admin API.
//!
//! If the host has a token, every call must send it. Without one, everyone who reaches the API may
//! use it, except pages of another origin. A browser sends simple requests without a preflight, and
//! the API reads every body as JSON, whatever its content type. So a page of another origin could
//! switch leaks. The `Origin` header identifies such requests.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, ErrorCode};
use crate::state::ApiState;

/// The middleware of every admin route: passes a call that brings the token, or any call of the
/// host's own origin if the host has no token.
pub async fn require_token(
    State(state): State<Arc<ApiState>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = &state.options.admin_token else {
        if !request.method().is_safe() && is_foreign(request.headers()) {
            return ApiError::new(
                ErrorCode::ForeignOrigin,
                "the request comes from a page of another origin",
                "use the console of this host, or a client that is not a browser; \
                 with --admin-token, a page that has the token may call",
            )
            .into_response();
        }
        return next.run(request).await;
    };
    let authorized = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|given| equal(given, token.as_bytes()));
    if authorized {
        return next.run(request).await;
    }
    let mut response = ApiError::new(
        ErrorCode::Unauthorized,
        "the admin API of this host requires a token",
        "send the header Authorization: Bearer TOKEN; on the host, LEAK_ADMIN_TOKEN has the token",
    )
    .into_response();
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether a browser says that a page of another origin sent this.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority.as_bytes());
    authority != headers.get(header::HOST).map(|host| host.as_bytes())
}

/// Compares in a time that depends only on the lengths. The time reveals nothing else about the
/// token.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (x, y)| difference | (x ^ y))
            == 0
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{equal, is_foreign};

    #[test]
    fn an_origin_other_than_the_host_is_foreign() {
        let headers = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("localhost:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            headers
        };
        for (origin, foreign) in [
            (None, false),
            (Some("http://localhost:8080"), false),
            (Some("https://localhost:8080"), false),
            (Some("http://localhost"), true),
            (Some("http://localhost:80801"), true),
            (Some("http://elsewhere.example"), true),
            (Some("null"), true),
            (Some(""), true),
        ] {
            assert_eq!(is_foreign(&headers(origin)), foreign, "{origin:?}");
        }
    }

    #[test]
    fn only_the_token_itself_is_accepted() {
        assert!(equal(b"token", b"token"));
        for wrong in ["", "toke", "tokem", "token2", "Token"] {
            assert!(!equal(wrong.as_bytes(), b"token"), "{wrong}");
        }
    }
}
