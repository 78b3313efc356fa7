//! Who may administer: whoever brings the admin token, when the host was started with one; else everybody who
//! reaches it, but no page of another origin.
//!
//! A browser sends some requests for any page without asking, and since bodies are JSON whatever their content type,
//! such a request could switch leaks. It says where it comes from, though.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Lab;
use super::error::ApiError;

/// Lets a call through that brings the token, or any call when none is asked for.
pub async fn require_token(State(lab): State<Arc<Lab>>, request: Request, next: Next) -> Response {
    let Some(token) = &lab.admin_token else {
        if !request.method().is_safe() && is_foreign(request.headers()) {
            return ApiError::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "the request comes from a page of another origin",
                "use the console of this host, or a client that is no browser; with --admin-token a page that knows the token may",
            )
            .into_response();
        }
        return next.run(request).await;
    };
    let brought = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|brought| same(brought, token.as_bytes()));
    if brought {
        return next.run(request).await;
    }
    let mut refusal = ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "the admin API of this host asks for a token",
        "send the header Authorization: Bearer TOKEN; the token is in LEAK_ADMIN_TOKEN on the host",
    )
    .into_response();
    refusal.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        header::HeaderValue::from_static("Bearer"),
    );
    refusal
}

/// Whether a browser says that another origin's page has sent this.
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

/// Compares in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (x, y)| difference | (x ^ y))
            == 0
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{is_foreign, same};

    #[test]
    fn an_origin_is_that_of_the_host_or_foreign() {
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
    fn only_the_token_itself_fits() {
        assert!(same(b"token", b"token"));
        for wrong in ["", "toke", "tokem", "token2", "Token"] {
            assert!(!same(wrong.as_bytes(), b"token"), "{wrong}");
        }
    }
}
