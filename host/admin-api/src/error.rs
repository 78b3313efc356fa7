//! Errors of the API. This is the only module that maps errors to statuses.
//!
//! Every error leaves as `{"error": {"code", "message", "hint"}}`. The layers below know no HTTP:
//! their [`PluginError`] becomes an [`ApiError`] here.

mod codes;
#[cfg(test)]
mod tests;

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

pub use codes::ErrorCode;
use guest_heap_inspector::profile::ProfileError;
use guest_heap_inspector::query::InvalidParameter;
use plugin_host::error::PluginError;

/// The longest part of a client's text that an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 60;

/// When a client may try again whose component found no place in the queue of the compiler. Most
/// components take less than a second.
const COMPILER_RETRY_SECONDS: u32 = 5;

/// When a client may try again whose body found no place.
const UPLOAD_RETRY_SECONDS: u32 = 5;

/// The answer to a call that failed.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    hint: String,
    /// The `Retry-After` header, in seconds.
    retry_after: Option<u32>,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong and what to do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// For programs: `unknown_leak`.
    code: &'static str,
    /// For people: what went wrong.
    message: String,
    /// For people: what to do.
    hint: String,
}

impl ApiError {
    /// An error with the status of its code. `message` says what went wrong, `hint` what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        ApiError {
            status: code.status(),
            code,
            message: message.into(),
            hint: hint.into(),
            retry_after: None,
        }
    }

    /// 404 `unknown_leak`, with the leaks that there are.
    pub fn unknown_leak(name: &str, known: &[&str]) -> Self {
        ApiError::new(
            ErrorCode::UnknownLeak,
            format!("there is no leak {:?}", shorten(name)),
            format!("loaded leaks: {}", known.join(", ")),
        )
    }

    pub(crate) fn unknown_plugin(id: &str, known: &[&str]) -> Self {
        ApiError::new(
            ErrorCode::UnknownPlugin,
            format!("there is no plugin {:?}", shorten(id)),
            format!("loaded plugins: {}", known.join(", ")),
        )
    }

    /// 422 for one field. `accepts` names the type and the range, as in `takes 1 to 40`.
    pub fn invalid_value(field: &str, accepts: &str) -> Self {
        ApiError::new(
            ErrorCode::InvalidValue,
            format!("{field}: {accepts}"),
            format!("send another value for {field:?}; nothing was changed"),
        )
    }

    /// 409 for a call that would show or change what a mystery hides.
    pub fn hidden() -> Self {
        ApiError::new(
            ErrorCode::MysteryRunning,
            "a mystery runs, and this call would show or change what it hides",
            "GET /admin/mystery says what you can use; DELETE /admin/mystery ends it; nothing was changed",
        )
    }

    /// The failure that a request to `/api/data` asked for with `fail=STATUS`.
    pub(crate) fn requested_failure(status: StatusCode) -> Self {
        ApiError {
            status,
            ..ApiError::new(
                ErrorCode::AskedToFail,
                format!("this request asked for {status}"),
                "leave out the query parameter fail",
            )
        }
    }

    /// 503 for a body that exceeds what the bodies of other clients leave.
    pub(crate) fn uploads_full() -> Self {
        ApiError {
            retry_after: Some(UPLOAD_RETRY_SECONDS),
            ..ApiError::new(
                ErrorCode::UploadsFull,
                "the bodies of other clients take all memory that the host has for bodies",
                "try again in some seconds, or raise --upload-budget of the host; nothing was changed",
            )
        }
    }

    /// The body of the answer, for a connection that answers without axum.
    pub fn to_json(&self) -> String {
        // Texts always serialize.
        serde_json::to_string(&ErrorBody::from(self)).unwrap_or_default()
    }

    /// 500 for a fault of the host itself. The cause goes to the log, not to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        ApiError::new(
            ErrorCode::Internal,
            "the host failed to do this",
            "the host's log has the cause",
        )
    }
}

/// The start of a client's text, to repeat it in an error.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<&ApiError> for ErrorBody {
    fn from(error: &ApiError) -> Self {
        ErrorBody {
            error: ErrorDetail {
                code: error.code.name(),
                message: error.message.clone(),
                hint: error.hint.clone(),
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody::from(&self))).into_response();
        if self.code == ErrorCode::Unauthorized {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<InvalidParameter> for ApiError {
    fn from(error: InvalidParameter) -> Self {
        ApiError::invalid_value(error.name, error.accepts)
    }
}

impl From<ProfileError> for ApiError {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::Invalid(error) => error.into(),
            ProfileError::TooMany => ApiError::new(
                ErrorCode::TooManyProfiles,
                error.to_string(),
                "try again when one of them has ended",
            ),
            ProfileError::Internal(cause) => ApiError::internal(&cause),
        }
    }
}

impl From<PluginError> for ApiError {
    fn from(error: PluginError) -> Self {
        let message = error.to_string();
        let (code, hint) = match error {
            PluginError::InvalidValue { name, message } => {
                return ApiError::invalid_value(&name, &message);
            }
            PluginError::Refused(_) => (
                ErrorCode::PluginRefused,
                "build it against wit/leak-plugin.wit for wasm32-wasip2; nothing was changed"
                    .into(),
            ),
            PluginError::WrongDeclarations(_) => (
                ErrorCode::PluginRefused,
                "correct that file next to the component, or remove it (docs/guest-heap.md has its \
                 keys); the component itself was not read, and nothing was changed"
                    .into(),
            ),
            PluginError::TooCostly(_) => (
                ErrorCode::PluginTooCostly,
                "the limits are in docs/operations.md, and --compile-timeout and --compile-memory \
                 of the host raise two of them; nothing was changed"
                    .into(),
            ),
            PluginError::CompilerBusy => {
                return ApiError {
                    retry_after: Some(COMPILER_RETRY_SECONDS),
                    ..ApiError::new(
                        ErrorCode::CompilerBusy,
                        message,
                        "try again in some seconds; nothing was changed",
                    )
                };
            }
            PluginError::Internal(cause) => return ApiError::internal(&cause),
            PluginError::Unreadable { .. } => (
                ErrorCode::PluginUnreadable,
                "restore the file, or unload the plugin".into(),
            ),
            PluginError::IdTaken { .. } => (
                ErrorCode::IdTaken,
                "change the id of one of the two plugins, or unload the other; nothing was changed"
                    .into(),
            ),
            PluginError::TooLarge { .. } => (
                ErrorCode::PluginTooLarge,
                "strip its debug information, or raise --max-plugin-size of the host; \
                 nothing was changed"
                    .into(),
            ),
            PluginError::IdMismatch { wanted, found } => (
                ErrorCode::IdMismatch,
                format!(
                    "send it to /admin/plugins/{found}, or change its id to {wanted:?}; \
                     nothing was changed"
                ),
            ),
            PluginError::FileTaken { owner, .. } => (
                ErrorCode::FileTaken,
                format!(
                    "DELETE /admin/plugins/{owner} first, or rename that file; nothing was changed"
                ),
            ),
            PluginError::Unknown(_) => (
                ErrorCode::UnknownPlugin,
                "GET /admin/plugins lists the loaded plugins".into(),
            ),
            PluginError::UnknownSetting { known, .. } => (
                ErrorCode::UnknownSetting,
                format!("its settings are: {}", known.join(", ")),
            ),
            PluginError::NotRunning { plugin, .. } => {
                (ErrorCode::PluginNotRunning, reset_hint(&plugin))
            }
            PluginError::Failed { plugin, .. } => (ErrorCode::PluginFailed, reset_hint(&plugin)),
            PluginError::NotStarted { plugin, .. } => (
                ErrorCode::PluginNotStarted,
                format!(
                    "change the setting that it fails with (POST /admin/leaks/{plugin} with \
                     memory_limit_mb, …), or load another version; nothing was changed"
                ),
            ),
            PluginError::Overloaded(_) => (ErrorCode::Overloaded, "try again in a moment".into()),
            PluginError::Masked => (
                ErrorCode::MysteryRunning,
                "DELETE /admin/mystery ends the mystery".into(),
            ),
            PluginError::Gone(_) => (ErrorCode::Draining, "try again in a moment".into()),
        };
        ApiError::new(code, message, hint)
    }
}

fn reset_hint(plugin: &str) -> String {
    format!("POST /admin/leaks/{plugin}/reset starts a fresh instance")
}

/// The fallback of every path that has no route.
pub(crate) async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("there is no route {}", shorten(uri.path())),
        "GET /docs lists the routes",
    )
}

/// The fallback of a route that does not have this method.
pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        format!("{} does not accept {method}", shorten(uri.path())),
        "the Allow header lists the accepted methods; GET /docs explains them",
    )
}

/// The answer of a handler that panicked. The panic's message goes to the log.
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    ApiError::internal(&message.unwrap_or("a handler panicked")).into_response()
}
