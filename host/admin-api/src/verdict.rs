//! The verdict of the lab in JSON.

use serde::Serialize;
use utoipa::ToSchema;

use crate::state::ApiState;
use crate::units::mib;
use lab::forecast::NextStep;

/// The next step of memory that grows in steps, such as a buffer that doubles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NextStepBody {
    /// What it asks for in one piece, in MiB.
    piece_mb: f64,
    piece_bytes: u64,
    /// Requests until then, if each fills as much as those before.
    requests_left: f64,
    /// Seconds until then at the present request rate; null without requests.
    seconds_left: Option<f64>,
    /// Whether it does not fit into the limit.
    refused: bool,
}

impl From<NextStep> for NextStepBody {
    fn from(step: NextStep) -> Self {
        NextStepBody {
            piece_mb: mib(step.piece_bytes),
            piece_bytes: step.piece_bytes,
            requests_left: step.requests_left,
            seconds_left: step.seconds_left,
            refused: step.is_refused,
        }
    }
}

/// What leaks, where, how fast and until when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictBody {
    /// `none`, `guest_leak`, `growing`, `allocator`, `collector`, `host` or `filling`.
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
    /// The next step of the plugin's memory. Left out unless it grows in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<NextStepBody>,
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
            next_step: verdict.next_step.map(NextStepBody::from),
            evidence: verdict.evidence.clone(),
        }
    }
}
