//! The admin token, when the host was started with one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Lab;
use super::error::ApiError;

/// Lets a call through that brings the token, or any call when none is asked for.
pub(crate) async fn require_token(
    State(lab): State<Arc<Lab>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = &lab.admin_token else {
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
    use super::same;

    #[test]
    fn only_the_token_itself_fits() {
        assert!(same(b"token", b"token"));
        for wrong in ["", "toke", "tokem", "token2", "Token"] {
            assert!(!same(wrong.as_bytes(), b"token"), "{wrong}");
        }
    }
}
