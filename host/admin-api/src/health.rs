//! `GET /health`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::ApiState;
use plugin_host::driver::published_state::RunState as PluginState;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
    /// The service's name.
    service: String,
    /// The host's version.
    version: &'static str,
    /// The number of plugins in each state.
    plugins: PluginCount,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct PluginCount {
    running: u64,
    exhausted: u64,
    faulted: u64,
}

/// Health of the host. The status is 200 whatever state the plugins are in.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = Health)))]
pub(crate) async fn health(State(state): State<Arc<ApiState>>) -> Json<Health> {
    let mut plugins = PluginCount::default();
    for plugin in state.registry.plugins().iter() {
        match plugin.details().state {
            PluginState::Running => plugins.running += 1,
            PluginState::Exhausted(_) => plugins.exhausted += 1,
            PluginState::Faulted(_) => plugins.faulted += 1,
        }
    }
    Json(Health {
        status: "ok",
        service: state.options.service_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        plugins,
    })
}
