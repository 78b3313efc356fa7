//! `GET /admin/host`: this host in short, for a client that asks many hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorBody};
use crate::health::{PluginCount, count_plugins};
use crate::state::ApiState;
use crate::units::mib;
use crate::verdict::VerdictBody;

/// This host in short.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostBody {
    /// Its name: `--name`, by default the name of the machine or container.
    name: String,
    /// The labels of `--label`.
    labels: BTreeMap<String, String>,
    /// The service's name.
    service: String,
    /// The host's version.
    version: &'static str,
    /// The revision of its source, as in `leak_build_info`.
    revision: String,
    /// `starting` until the plugins are loaded, then `ok`.
    status: &'static str,
    /// Seconds since this process started to serve.
    uptime_seconds: f64,
    /// Requests to `/api/data` since the start.
    requests: u64,
    /// Resident memory in MiB.
    rss_mb: f64,
    rss_bytes: u64,
    /// The memory limit in MiB; null without a limit.
    limit_mb: Option<f64>,
    limit_bytes: Option<u64>,
    /// The number of plugins in each state.
    plugins: PluginCount,
    /// The leaks that are switched on.
    leaks_enabled: Vec<String>,
    /// The same as `verdict` in `/admin/memory`.
    verdict: VerdictBody,
}

/// This host in short: its name and labels, its memory, the leaks that are switched on, and the
/// verdict.
#[utoipa::path(get, path = "/admin/host", tag = "memory",
    responses((status = 200, body = HostBody), (status = 500, body = ErrorBody)))]
pub(crate) async fn host(State(state): State<Arc<ApiState>>) -> Result<Json<HostBody>, ApiError> {
    let process = state.monitor.process();
    let process = process.map_err(|error| ApiError::internal(&error))?;
    let limit = state.monitor.budget().limit.map(|limit| limit.bytes);
    let plugins = state.registry.plugins();
    let enabled = plugins.iter().filter(|plugin| plugin.enabled());
    let identity = &state.options.identity;
    Ok(Json(HostBody {
        name: identity.name.clone(),
        labels: identity.labels.clone(),
        service: state.options.service_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        revision: identity.revision.clone(),
        status: if state.is_ready() { "ok" } else { "starting" },
        uptime_seconds: state.uptime().as_secs_f64(),
        requests: state.requests(),
        rss_mb: mib(process.resident_bytes),
        rss_bytes: process.resident_bytes,
        limit_mb: limit.map(mib),
        limit_bytes: limit,
        plugins: count_plugins(&state),
        leaks_enabled: enabled.map(|plugin| plugin.id().to_owned()).collect(),
        verdict: VerdictBody::of(&state),
    }))
}
