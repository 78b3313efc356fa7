//! Errors as JSON: `{"error": {"code", "message", "hint"}}`.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::profile::ProfileError;
use crate::query::InvalidParameter;
use crate::source::HeapError;

/// The longest part of a client's text that an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 60;

/// The answer to a call that failed.
#[derive(Debug)]
pub struct InspectorError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    code: &'static str,
    message: &'a str,
    hint: &'a str,
}

impl InspectorError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// 404 for a guest that does not run.
    pub(crate) fn unknown_guest(name: &str, known: &[String]) -> Self {
        let known = if known.is_empty() {
            "no guest runs now".to_owned()
        } else {
            format!("guests: {}", known.join(", "))
        };
        let message = format!("there is no guest {:?}", shorten(name));
        Self::new(StatusCode::NOT_FOUND, "unknown_guest", message, known)
    }

    /// An error of the host while it read a guest.
    pub(crate) fn of_guest(guest: &str, error: &HeapError) -> Self {
        let message = format!("the heap of {guest:?} cannot be read: {error}");
        match error {
            HeapError::Unknown => Self::new(
                StatusCode::NOT_FOUND,
                "unknown_guest",
                message,
                "it has ended meanwhile",
            ),
            HeapError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "guest_busy",
                message,
                "try again in a moment",
            ),
            HeapError::Failed(_) => Self::new(
                StatusCode::BAD_GATEWAY,
                "unreadable_heap",
                message,
                "the host's log may have the cause",
            ),
        }
    }

    /// 500 for a fault of the inspector. The cause goes to the log.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "the heap inspector has failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the inspector failed to do this",
            "the host's log has the cause",
        )
    }

    /// 400 for addresses that cannot be read.
    pub(crate) fn unreadable_addresses(cause: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unreadable_addresses",
            cause,
            "send addresses as text: 0x1f2+0x3a0",
        )
    }

    /// What went wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }
}

impl From<InvalidParameter> for InspectorError {
    fn from(error: InvalidParameter) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_value",
            error.to_string(),
            format!("send another value for {:?}", error.name),
        )
    }
}

impl From<ProfileError> for InspectorError {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::Invalid(error) => error.into(),
            ProfileError::TooMany => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_profiles",
                error.to_string(),
                "try again when one of them has ended",
            ),
            ProfileError::Internal(cause) => Self::internal(&cause),
        }
    }
}

impl IntoResponse for InspectorError {
    fn into_response(self) -> Response {
        let error = Detail {
            code: self.code,
            message: &self.message,
            hint: &self.hint,
        };
        (self.status, Json(Body { error })).into_response()
    }
}

/// The start of a client's text, to repeat it in an error.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}

/// The answer for paths below `/debug/heap/` and `/debug/pprof/` that the inspector does not have.
pub(crate) async fn not_found(uri: Uri) -> InspectorError {
    InspectorError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("the inspector has no page {}", shorten(uri.path())),
        "debug/heap/ has page, snapshot, diff, history, flamegraph, folded, metrics and source; \
         debug/pprof/ has heap, allocs and symbol",
    )
}

pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> InspectorError {
    InspectorError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not accept {method}", shorten(uri.path())),
        "it accepts GET",
    )
}
