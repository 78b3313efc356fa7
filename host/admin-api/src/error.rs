//! The one place that picks a status: every error leaves as
//! `{"error": {"code", "message", "hint"}}`.

use std::any::Any;

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use plugin_host::error::PluginError;

/// An error on its way to a client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong and what to do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorDetail {
    /// For programs: `unknown_leak`.
    code: String,
    /// For people.
    message: String,
    /// What to do.
    hint: String,
}

impl ApiError {
    /// An error with what to do about it.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        ApiError {
            status,
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// 404 with the leaks there are.
    pub(super) fn unknown_leak(name: &str, known: &[&str]) -> Self {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_leak",
            format!("there is no leak {:?}", shorten(name)),
            format!("loaded are: {}", known.join(", ")),
        )
    }

    /// 404 for a plugin.
    pub(super) fn unknown_plugin(name: &str, known: &[&str]) -> Self {
        ApiError {
            code: "unknown_plugin",
            ..ApiError::unknown_leak(name, known)
        }
    }

    /// 422 for one field.
    pub fn invalid_value(field: &str, takes: &str) -> Self {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_value",
            format!("{field}: {takes}"),
            format!("send another value for {field:?}; nothing was changed"),
        )
    }

    /// 500 for what is nobody's fault but the host's. The cause goes to the log, not to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the host could not do that",
            "the host's log says why",
        )
    }
}

/// Enough of a client's word to recognise it.
pub(super) fn shorten(word: &str) -> String {
    word.chars().take(60).collect()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = ErrorDetail {
            code: self.code.into(),
            message: self.message,
            hint: self.hint,
        };
        (self.status, Json(ErrorBody { error: detail })).into_response()
    }
}

impl From<PluginError> for ApiError {
    fn from(error: PluginError) -> Self {
        let message = error.to_string();
        let new = |status, code, hint: String| ApiError::new(status, code, message, hint);
        match &error {
            PluginError::Refused(_) => new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "plugin_refused",
                "build it against wit/leak-plugin.wit for wasm32-wasip2; nothing was changed"
                    .into(),
            ),
            PluginError::Internal(cause) => ApiError::internal(cause),
            PluginError::Unreadable { .. } => new(
                StatusCode::CONFLICT,
                "plugin_unreadable",
                "put the file back, or unload the plugin".into(),
            ),
            PluginError::IdTaken { .. } => new(
                StatusCode::CONFLICT,
                "id_taken",
                "give the plugin another id, or remove the other one; nothing was changed".into(),
            ),
            PluginError::TooLarge { .. } => new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "plugin_too_large",
                "strip its debug information, or start the host with --max-plugin-size; nothing was changed".into(),
            ),
            PluginError::IdMismatch { wanted, found } => new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "id_mismatch",
                format!("send it to /admin/plugins/{found}, or give it the id {wanted:?}; nothing was changed"),
            ),
            PluginError::FileTaken { owner, .. } => new(
                StatusCode::CONFLICT,
                "file_taken",
                format!("DELETE /admin/plugins/{owner} first, or rename that file; nothing was changed"),
            ),
            PluginError::Unknown(_) => new(
                StatusCode::NOT_FOUND,
                "unknown_plugin",
                "GET /admin/plugins lists what is loaded".into(),
            ),
            PluginError::UnknownSetting { known, .. } => new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_setting",
                format!("its settings are: {}", known.join(", ")),
            ),
            PluginError::InvalidValue { name, message } => ApiError::invalid_value(name, message),
            PluginError::NotRunning { plugin, .. } => new(
                StatusCode::CONFLICT,
                "plugin_not_running",
                format!("POST /admin/leaks/{plugin}/reset starts a fresh instance"),
            ),
            PluginError::Failed { plugin, .. } => new(
                StatusCode::CONFLICT,
                "plugin_failed",
                format!("POST /admin/leaks/{plugin}/reset starts a fresh instance"),
            ),
            PluginError::NotStarted { plugin, .. } => new(
                StatusCode::CONFLICT,
                "plugin_not_started",
                format!("change what it fails of (POST /admin/leaks/{plugin} with memory_limit_mb, …), or load another version; nothing was changed"),
            ),
            PluginError::Overloaded(_) => new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "try again in a moment".into(),
            ),
            PluginError::Gone(_) => new(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                "try again in a moment".into(),
            ),
        }
    }
}

/// Any path that is not served.
pub(super) async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is nothing at {}", shorten(uri.path())),
        "GET /docs lists what there is",
    )
}

/// A path that is served, but not for this method.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {method}", shorten(uri.path())),
        "the header Allow names what it takes; GET /docs explains",
    )
}

/// A handler that panicked. What it said is in the log.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    ApiError::internal(&said.unwrap_or("a handler panicked")).into_response()
}
