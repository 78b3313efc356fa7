//! `PUT`, `DELETE /admin/plugins/{name}` and `POST …/reload`: load, replace and unload plugins
//! while the host serves.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::info::PluginInfo;
use crate::body::{ComponentBody, JsonObject};
use crate::error::{ApiError, ErrorBody};
use crate::path_name::PathName;
use crate::state::ApiState;
use plugin_host::load::manifest::check_id;
use plugin_host::registry::Installed;
use plugin_host::settings::SettingReset;
use process_memory::allocator;

/// A plugin that was loaded or replaced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginLoaded {
    /// Whether the plugin replaced a loaded one.
    replaced: bool,
    /// Why the component is not in the plugins folder. A restart loses the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_persisted_why: Option<String>,
    /// Settings that are back at their defaults, since this version does not accept their values.
    settings_reset: Vec<SettingResetInfo>,
    /// The plugin now.
    #[serde(flatten)]
    plugin: PluginInfo,
}

/// A setting that went back to its default.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettingResetInfo {
    /// The setting's name.
    setting: String,
    /// Why its value was not accepted.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginUnloaded {
    /// The plugin's id.
    unloaded: String,
    /// Whether a file of the plugin was removed from the plugins folder.
    file_removed: bool,
    /// Why the file was not removed. The next start loads it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_kept_why: Option<String>,
}

/// Loads a component, or replaces the plugin of that name while the host serves. The body is the
/// component; the id in its manifest must be the name in the path. Requests in flight finish on the
/// old instance. The switch and the settings stay; a setting whose value the new version does not
/// accept goes back to its default. The component is written to the plugins folder, so that a
/// restart loads it again. If the folder cannot be written, the component is kept in memory and
/// `persisted` is false.
#[utoipa::path(put, path = "/admin/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A component of the world leak-plugin"),
    responses((status = 200, body = PluginLoaded, description = "Replaced"), (status = 201, body = PluginLoaded, description = "Loaded"),
        (status = 400, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn put(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
    body: ComponentBody,
) -> Result<(StatusCode, Json<PluginLoaded>), ApiError> {
    check_id(&name).map_err(|e| ApiError::invalid_value("name", &e.to_string()))?;
    let sent = state.registry.upload(&name, body.component.clone()).await;
    // After a refusal too: the component itself was in memory.
    allocator::release_free_pages();
    let sent = sent?;
    let status = if sent.installed.replaced {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(loaded(&sent.installed, sent.not_persisted))))
}

/// Reads the plugin's file again and replaces the plugin by the file's content, in a fresh
/// instance. A plugin that is only in memory gets a fresh instance of the same component. The
/// switch and the settings stay.
#[utoipa::path(post, path = "/admin/plugins/{name}/reload", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    responses((status = 200, body = PluginLoaded), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 429, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn reload(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
    body: JsonObject,
) -> Result<Json<PluginLoaded>, ApiError> {
    body.reject_unknown(&[])?;
    state.plugin(&name)?;
    let placed = state.registry.reload(&name).await;
    allocator::release_free_pages();
    Ok(Json(loaded(&placed?, None)))
}

/// Unloads a plugin, and removes its file from the plugins folder, also that of an earlier version
/// if the last upload could not be stored. Requests in flight finish first.
/// The instance, the metrics, the history and the plugin's part of the baselines are dropped. If
/// the file cannot be removed, the answer says why, and the host ignores the file until it changes
/// or the host restarts.
#[utoipa::path(delete, path = "/admin/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    responses((status = 200, body = PluginUnloaded), (status = 404, body = ErrorBody)))]
pub(crate) async fn delete(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
) -> Result<Json<PluginUnloaded>, ApiError> {
    state.plugin(&name)?;
    let unloaded = state.registry.unload(&name).await?;
    state.drop_unloaded();
    allocator::release_free_pages();
    Ok(Json(PluginUnloaded {
        unloaded: name,
        file_removed: unloaded.file_removed,
        file_kept_why: unloaded.file_kept,
    }))
}

fn loaded(placed: &Installed, not_persisted_why: Option<String>) -> PluginLoaded {
    let reset = |s: &SettingReset| SettingResetInfo {
        setting: s.name.clone(),
        reason: s.reason.clone(),
    };
    PluginLoaded {
        replaced: placed.replaced,
        not_persisted_why,
        settings_reset: placed.settings_reset.iter().map(reset).collect(),
        plugin: PluginInfo::of(&placed.plugin),
    }
}
