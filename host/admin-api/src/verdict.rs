//! The verdict of the lab in JSON.

use serde::Serialize;
use utoipa::ToSchema;

use crate::state::ApiState;

/// What leaks, where, how fast and until when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictBody {
    /// `none`, `guest_leak`, `allocator`, `collector`, `host` or `filling`.
    kind: &'static str,
    /// `calm`, `leak`, or `critical` if a limit is less than two minutes away.
    severity: &'static str,
    /// One sentence that can be read without anything else.
    sentence: String,
    /// The plugin that matters most.
    plugin: Option<String>,
    /// Its source line that grows most.
    location: Option<String>,
    /// Bytes that one request leaves behind, of all plugins that leak.
    bytes_per_request: f64,
    /// The present rate of requests.
    requests_per_second: f64,
    /// Growth of the resident memory at this rate.
    growth_bytes_per_second: f64,
    /// Seconds until the limit of the process or of the plugin, the one that comes first. 0 at the
    /// limit, null if nothing grows.
    seconds_to_limit: Option<f64>,
    /// What the verdict is based on.
    evidence: Vec<String>,
}

impl VerdictBody {
    pub(crate) fn of(state: &ApiState) -> Self {
        let verdict = state.monitor.verdict();
        VerdictBody {
            kind: verdict.kind.name(),
            severity: verdict.severity.name(),
            sentence: verdict.sentence.clone(),
            plugin: verdict.plugin.clone(),
            location: verdict.location.as_ref().map(ToString::to_string),
            bytes_per_request: verdict.bytes_per_request,
            requests_per_second: verdict.requests_per_second,
            growth_bytes_per_second: verdict.growth_bytes_per_second,
            seconds_to_limit: verdict.seconds_to_limit,
            evidence: verdict.evidence.clone(),
        }
    }
}
