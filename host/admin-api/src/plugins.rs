//! `GET /admin/plugins` and `GET /admin/plugins/{name}`: the loaded plugins.

pub(crate) mod change;
mod info;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorBody};
use crate::path_name::PathName;
use crate::state::ApiState;
use info::PluginInfo;
use plugin_host::load::folder::LoadProblem;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginList {
    plugins: Vec<PluginInfo>,
    /// Files in the plugins folder that could not be loaded. A plugin that was loaded from such a
    /// file earlier keeps running.
    problems: Vec<ProblemInfo>,
}

/// A file that could not be loaded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemInfo {
    /// The file, or the folder itself.
    file: String,
    /// Why it could not be loaded.
    error: String,
    /// When this was found, RFC 3339.
    since: String,
}

/// The loaded plugins, and the files that could not be loaded.
#[utoipa::path(get, path = "/admin/plugins", tag = "plugins", responses((status = 200, body = PluginList)))]
pub(crate) async fn list(State(state): State<Arc<ApiState>>) -> Json<PluginList> {
    let plugins = state.registry.plugins();
    let problems = state.registry.folder().map(|folder| folder.problems());
    let problem = |problem: LoadProblem| ProblemInfo {
        file: problem.file.display().to_string(),
        error: problem.error,
        since: problem.since.to_string(),
    };
    Json(PluginList {
        plugins: plugins
            .iter()
            .map(|plugin| PluginInfo::of(plugin))
            .collect(),
        problems: problems.into_iter().flatten().map(problem).collect(),
    })
}

/// One loaded plugin.
#[utoipa::path(get, path = "/admin/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's id")),
    responses((status = 200, body = PluginInfo), (status = 404, body = ErrorBody)))]
pub(crate) async fn show(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
) -> Result<Json<PluginInfo>, ApiError> {
    Ok(Json(PluginInfo::of(&*state.plugin(&name)?)))
}
