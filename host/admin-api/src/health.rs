//! `GET /health` and `GET /health/ready`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::state::ApiState;
use plugin_host::driver::published_state::RunState as PluginState;
use plugin_host::registry::LoadingFile;

/// The most files that the error of `/health/ready` names.
const MAX_NAMED_FILES: usize = 5;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `starting` until every file in the plugins folder was loaded or refused once, then `ok`.
    status: &'static str,
    /// The service's name.
    service: String,
    /// The host's version.
    version: &'static str,
    /// The number of plugins in each state.
    plugins: PluginCount,
    /// The files in the plugins folder that are being loaded now, at the start or later.
    loading: Vec<LoadingPlugin>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct PluginCount {
    running: u64,
    exhausted: u64,
    faulted: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoadingPlugin {
    /// The file's name.
    file: String,
    /// `waiting`, `compiling` or `starting`.
    stage: &'static str,
    /// Time since the host began to load it.
    seconds: f64,
}

impl From<LoadingFile> for LoadingPlugin {
    fn from(loading: LoadingFile) -> Self {
        LoadingPlugin {
            file: loading.file,
            stage: loading.stage,
            seconds: loading.since.as_secs_f64(),
        }
    }
}

/// Health of the host. The status is 200 as soon as the host listens, whatever state the plugins
/// are in.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = Health)))]
pub(crate) async fn health(State(state): State<Arc<ApiState>>) -> Json<Health> {
    Json(read(&state))
}

/// Whether the host has loaded its plugins. The status is 503 until every file in the plugins
/// folder was loaded or refused once, and 200 from then on.
#[utoipa::path(get, path = "/health/ready", tag = "service",
    responses((status = 200, body = Health), (status = 503, body = ErrorBody)))]
pub(crate) async fn ready(State(state): State<Arc<ApiState>>) -> Result<Json<Health>, ApiError> {
    let health = read(&state);
    if state.is_ready() {
        return Ok(Json(health));
    }
    let named = health.loading.iter().take(MAX_NAMED_FILES);
    let named: Vec<String> = named.map(|l| format!("{} ({})", l.file, l.stage)).collect();
    let more = health.loading.len().saturating_sub(MAX_NAMED_FILES);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(ApiError::new(
        ErrorCode::Starting,
        format!("the host is loading plugins: {}{more}", named.join(", ")),
        "try again in a moment; GET /health shows what is still loading",
    ))
}

/// The plugins in each state.
pub(crate) fn count_plugins(state: &ApiState) -> PluginCount {
    let mut plugins = PluginCount::default();
    for plugin in state.registry.plugins().iter() {
        match plugin.details().state {
            PluginState::Running => plugins.running += 1,
            PluginState::Exhausted(_) => plugins.exhausted += 1,
            PluginState::Faulted(_) => plugins.faulted += 1,
        }
    }
    plugins
}

fn read(state: &ApiState) -> Health {
    let loading = state.registry.loading();
    Health {
        status: if state.is_ready() { "ok" } else { "starting" },
        service: state.options.service_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        plugins: count_plugins(state),
        loading: loading.into_iter().map(LoadingPlugin::from).collect(),
    }
}
