//! `POST /admin/leaks/{name}`: switches a leak on or off and changes its settings.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value as Json_;
use utoipa::ToSchema;

use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::exercise_progress::Action;
use crate::leak_status::SettingsBody;
use crate::path_name::PathName;
use crate::setting_value::setting_value;
use crate::state::ApiState;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Switched {
    /// The leak's name.
    leak: String,
    /// Whether the leak is enabled.
    enabled: bool,
    /// Whether requests reach the leak: it is enabled, and its schedule has it on.
    active: bool,
    /// Seconds until the schedule makes the leak active or inactive; null if that does not happen.
    next_change_in_seconds: Option<f64>,
    /// The plugin's description.
    description: String,
    /// Whether a fresh instance was started, which a change of `heap_profile` needs. The objects
    /// that the old instance retained are gone.
    restarted: bool,
    /// The settings in force.
    #[schema(value_type = Object)]
    settings: SettingsBody,
    /// When the leak switches itself off, RFC 3339; null without `ttl_seconds`.
    expires_at: Option<String>,
}

/// Switches a leak on or off and changes its settings: `{"enabled": true, "payload_bytes": 1024}`.
/// `enabled` is required unless the body has a setting.
#[utoipa::path(post, path = "/admin/leaks/{name}", tag = "leaks", params(("name" = String, Path, description = "The leak")),
    request_body(content = Object, description = "`enabled` and any of the leak's settings"),
    responses((status = 200, body = Switched), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn switch(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
    mut body: JsonObject,
) -> Result<Json<Switched>, ApiError> {
    let plugin = state.leak(&name)?;
    let enabled = match body.take("enabled") {
        None => None,
        Some(Json_::Bool(enabled)) => Some(enabled),
        Some(_) => return Err(ApiError::invalid_value("enabled", "takes true or false")),
    };
    let mut changes = Vec::with_capacity(body.0.len());
    for (setting, value) in body.0 {
        let Some(value) = setting_value(value) else {
            return Err(ApiError::invalid_value(
                &setting,
                "takes one value, not a list or an object",
            ));
        };
        changes.push((setting, value));
    }
    if enabled.is_none() && changes.is_empty() {
        return Err(ApiError::new(
            ErrorCode::MissingField,
            "enabled: required unless the body has a setting",
            "send {\"enabled\": true} or {\"enabled\": false}",
        ));
    }
    let generation = plugin.reading().generation;
    // Before as well: the requests up to now belong to the state before.
    state.record(&Action::Other);
    state.registry.update(&plugin, enabled, changes).await?;
    state.record(&Action::Other);
    let restarted = plugin.reading().generation != generation;
    let details = plugin.details();
    Ok(Json(Switched {
        leak: name,
        enabled: plugin.enabled(),
        active: plugin.active(),
        next_change_in_seconds: details.next_change_in().map(|time| time.as_secs_f64()),
        description: details.manifest.description.clone(),
        restarted,
        settings: SettingsBody::of(&details.settings),
        expires_at: details.expires_at.map(|t| t.to_string()),
    }))
}
