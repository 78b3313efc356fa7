//! `PUT`, `DELETE /admin/plugins/{name}` and `reload`: plugins that come, change and go while the host serves.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Lab;
use super::body::{JsonObject, Unread, broken, read_whole};
use super::error::{ApiError, ErrorBody};
use super::name::Name;
use super::plugins::{PluginInfo, find, info};
use plugin_host::error::PluginError;
use plugin_host::load::manifest::check_id;
use plugin_host::registry::Installed;
use plugin_host::settings::SettingReset;
use process_memory::allocator;

/// A plugin that has been loaded or replaced.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PluginPlaced {
    /// Whether it is in the place of one that was there.
    replaced: bool,
    /// Why it is not in the plugins folder, and so is gone after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_persisted_why: Option<String>,
    /// Settings whose values this version does not take: they are back at their defaults.
    settings_reset: Vec<SettingResetInfo>,
    /// The plugin as it is now.
    #[serde(flatten)]
    plugin: PluginInfo,
}

/// A setting that went back to its default.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettingResetInfo {
    /// Its name.
    setting: String,
    /// Why.
    reason: String,
}

/// A plugin that has been unloaded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PluginUnloaded {
    /// Its id.
    unloaded: String,
    /// Whether it had a file in the plugins folder, and that is gone too.
    file_removed: bool,
    /// Why its file is still there: it will be loaded again at the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_kept_why: Option<String>,
}

/// A body that is a component, not larger than the host takes.
pub(super) struct ComponentBody(pub(super) Arc<[u8]>);

impl FromRequest<Arc<Lab>> for ComponentBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, lab: &Arc<Lab>) -> Result<Self, ApiError> {
        let limit = lab.registry.loader().max_size();
        let (parts, body) = request.into_parts();
        let read = read_whole(&parts.headers, body, limit, lab.client_timeout).await;
        let bytes = read.map_err(|unread| match unread {
            Unread::Broken => broken(),
            Unread::TooLarge(size) => PluginError::TooLarge { size, limit }.into(),
        })?;
        if bytes.is_empty() {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "missing_component",
                "the body is empty",
                "send a component: curl -T plugin.wasm URL; nothing was changed",
            ));
        }
        Ok(ComponentBody(bytes.into()))
    }
}

/// Loads a component, or replaces the plugin of that name live: the body is the component, and its manifest must have
/// that name as its id. Requests in flight finish on the old one; switch and settings stay, and a setting whose value
/// the new one does not take goes back to its default. The component is written into the plugins folder, so that it is
/// there again after a restart; where the folder cannot be written it is kept in memory, and `persisted` is false.
#[utoipa::path(put, path = "/admin/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A component of the world leak-plugin"),
    responses((status = 200, body = PluginPlaced, description = "Replaced"), (status = 201, body = PluginPlaced, description = "Loaded"),
        (status = 400, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn put(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
    ComponentBody(component): ComponentBody,
) -> Result<(StatusCode, Json<PluginPlaced>), ApiError> {
    check_id(&name).map_err(|e| ApiError::invalid_value("name", &e.to_string()))?;
    let sent = lab.registry.upload(&name, component).await?;
    let status = if sent.installed.replaced {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    allocator::release_free_pages();
    Ok((status, Json(placed(&sent.installed, sent.not_persisted))))
}

/// Reads a plugin's file again and goes on with what is in it, in a fresh instance; one that is in memory only gets a
/// fresh instance of the same component. Switch and settings stay.
#[utoipa::path(post, path = "/admin/plugins/{name}/reload", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    responses((status = 200, body = PluginPlaced), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn reload(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
    body: JsonObject,
) -> Result<Json<PluginPlaced>, ApiError> {
    body.finish(&[])?;
    find(&lab, &name)?;
    let done = lab.registry.reload(&name).await?;
    allocator::release_free_pages();
    Ok(Json(placed(&done, None)))
}

/// Unloads a plugin: its instance, its metrics, its history and what baselines know of it are gone, and its file is
/// removed from the plugins folder. A file that cannot be removed is left alone until it changes or the host restarts,
/// and the answer says why. Requests in flight are finished first.
#[utoipa::path(delete, path = "/admin/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    responses((status = 200, body = PluginUnloaded), (status = 404, body = ErrorBody)))]
pub(super) async fn delete(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
) -> Result<Json<PluginUnloaded>, ApiError> {
    find(&lab, &name)?;
    let unloaded = lab.registry.unload(&name).await?;
    lab.forget_unloaded();
    allocator::release_free_pages();
    Ok(Json(PluginUnloaded {
        unloaded: name,
        file_removed: unloaded.file_removed,
        file_kept_why: unloaded.file_kept,
    }))
}

fn placed(placed: &Installed, not_persisted_why: Option<String>) -> PluginPlaced {
    let reset = |s: &SettingReset| SettingResetInfo {
        setting: s.name.clone(),
        reason: s.reason.clone(),
    };
    PluginPlaced {
        replaced: placed.replaced,
        not_persisted_why,
        settings_reset: placed.settings_reset.iter().map(reset).collect(),
        plugin: info(&placed.plugin),
    }
}
