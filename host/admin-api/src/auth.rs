//! Access to the admin API.
//!
//! The middleware checks three things, in this order:
//!
//! 1. The client reached the host under a name that the host knows (`host_name`): 421 otherwise.
//! 2. No page of another origin changes anything (`browser`): 403 otherwise.
//! 3. If the host has a token, the call sends it: 401 otherwise. Without a token, everyone who
//!    reaches the API may use it.
//!
//! The service's own routes (`/api/data`, `/health`, `/metrics`) check none of this: they stand for
//! a workload that is reached under the name of a service, and they change no setting.

pub(crate) mod browser;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::client_probe::run_while_connected;
use crate::error::{ApiError, ErrorCode};
use crate::host_name;
use crate::state::{ApiOptions, ApiState};

/// The middleware of every admin route: passes a call that is allowed, as the module describes.
pub async fn require_access(
    State(state): State<Arc<ApiState>>,
    request: Request,
    next: Next,
) -> Response {
    match check(&state, &request) {
        Ok(()) => run_while_connected(request, next).await,
        Err(error) => error.into_response(),
    }
}

/// The middleware of the console's page, which has no data and needs no token: it checks the name
/// of the host.
pub async fn require_known_host(
    State(state): State<Arc<ApiState>>,
    request: Request,
    next: Next,
) -> Response {
    match check_host(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Refuses a request that a browser sends for a page of another origin. The middleware does so for
/// every method that changes something. A handler calls this if its GET changes something.
///
/// # Errors
///
/// 403 `foreign_origin`.
pub fn refuse_foreign(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    // A page cannot send the token to another origin, so `Origin` says nothing more then. A proxy
    // that changes `Host` makes it differ.
    let without_token = state.options.admin_token.is_none();
    if browser::is_cross_origin(headers) || without_token && browser::has_foreign_origin(headers) {
        return Err(ApiError::new(
            ErrorCode::ForeignOrigin,
            "the request comes from a page of another origin",
            "use the console of this host, type the address, or use a client that is not a browser",
        ));
    }
    Ok(())
}

fn check(state: &ApiState, request: &Request) -> Result<(), ApiError> {
    check_host(state, request)?;
    if !request.method().is_safe() {
        refuse_foreign(state, request.headers())?;
    }
    check_token(state, request.headers())
}

fn check_host(state: &ApiState, request: &Request) -> Result<(), ApiError> {
    let allowed = &state.options.allowed_hosts;
    host_name::require_known_host(request.uri(), request.headers(), allowed)
}

fn check_token(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = &state.options.admin_token else {
        return Ok(());
    };
    if sends(headers, token) || is_instructor(&state.options, headers) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Unauthorized,
        "the admin API of this host requires a token",
        "send the header Authorization: Bearer TOKEN; on the host, LEAK_ADMIN_TOKEN has the token",
    ))
}

/// Whether a call sends the instructor's token. Without such a token nobody is the instructor.
pub(crate) fn is_instructor(options: &ApiOptions, headers: &HeaderMap) -> bool {
    let token = options.instructor_token.as_ref();
    token.is_some_and(|token| sends(headers, token))
}

fn sends(headers: &HeaderMap, token: &str) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|given| equal(given, token.as_bytes()))
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
    use super::equal;

    #[test]
    fn only_the_token_itself_is_accepted() {
        assert!(equal(b"token", b"token"));
        for wrong in ["", "toke", "tokem", "token2", "Token"] {
            assert!(!equal(wrong.as_bytes(), b"token"), "{wrong}");
        }
    }
}
