//! `GET /health`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Lab;
use plugin_host::driver::published_state::RunState;

/// The host serves.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
    /// The service's name.
    service: String,
    /// The host's version.
    version: &'static str,
    /// How many plugins are in which state.
    plugins: PluginCount,
}

/// Plugins by state.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct PluginCount {
    running: u64,
    exhausted: u64,
    faulted: u64,
}

/// Says that the host serves: 200 whatever the plugins do.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = Health)))]
pub(super) async fn health(State(lab): State<Arc<Lab>>) -> Json<Health> {
    let mut plugins = PluginCount::default();
    for plugin in lab.registry.plugins().iter() {
        match plugin.details().state {
            RunState::Running => plugins.running += 1,
            RunState::Exhausted(_) => plugins.exhausted += 1,
            RunState::Faulted(_) => plugins.faulted += 1,
        }
    }
    Json(Health {
        status: "ok",
        service: lab.service_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        plugins,
    })
}
