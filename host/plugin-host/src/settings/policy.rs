//! The host's settings, decoded for the request path.

use std::time::Duration;

use crate::error::PluginError;
use crate::settings::host::{HeapProfile, HostSetting, MEBIBYTE, WASM32_MEMORY_MAX};
use crate::settings::schedule::Schedule;
use crate::settings::spec::Value;

/// Time that a request waits for a plugin beyond the deadline of one call. It covers the calls that
/// are queued before it.
const QUEUE_GRACE: Duration = Duration::from_millis(50);

/// A target: how many bytes to retain, and by when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Retained bytes at the end.
    pub bytes: u64,
    /// Time from the first request to the end.
    pub within: Duration,
}

/// The host's settings, decoded for the request path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Share of requests for which the pattern runs, 0 to 1.
    pub probability: f64,
    /// Retained bytes at which the pattern stops running.
    pub(crate) retained_max: Option<u64>,
    /// How many bytes to retain, and by when. `None` means that each request retains its payload.
    pub target: Option<Target>,
    /// Time after which an enabled leak disables itself.
    pub(crate) time_to_live: Option<Duration>,
    /// When the enabled leak is active. `None` means always.
    pub(crate) schedule: Option<Schedule>,
    /// The longest that one call may take.
    pub deadline: Duration,
    /// The most linear memory of the plugin, in bytes.
    pub memory_limit: u64,
    /// Whether the host tracks live bytes by source line.
    pub heap_profile: HeapProfile,
}

impl Policy {
    /// The longest that a request waits for the plugin's answer.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.deadline + QUEUE_GRACE
    }

    /// Decodes the values that `get` returns. A missing value counts as its default.
    pub(crate) fn decode<'a>(get: impl Fn(&str) -> Option<&'a Value>) -> Self {
        let number = |setting: HostSetting| match get(setting.name()) {
            Some(Value::Number(v)) => Some(*v),
            Some(Value::Integer(v)) => Some(*v as f64),
            _ => None,
        };
        let bytes = |setting| number(setting).map(|mebibytes| (mebibytes * MEBIBYTE) as u64);
        let seconds = |setting| number(setting).map(Duration::from_secs_f64);
        let heap_profile = match get(HostSetting::HeapProfile.name()) {
            Some(Value::Text(name)) => HeapProfile::from_name(name),
            _ => None,
        };
        Policy {
            probability: number(HostSetting::Probability).unwrap_or(1.0),
            retained_max: bytes(HostSetting::MaxMb),
            target: bytes(HostSetting::TargetMb).map(|bytes| {
                let minutes = number(HostSetting::TargetMinutes).unwrap_or(10.0);
                Target {
                    bytes,
                    within: Duration::from_secs_f64(minutes * 60.0),
                }
            }),
            time_to_live: number(HostSetting::TtlSeconds)
                .filter(|seconds| *seconds > 0.0)
                .map(Duration::from_secs_f64),
            schedule: Schedule::of(
                seconds(HostSetting::StartAfterSeconds),
                seconds(HostSetting::DurationSeconds),
                seconds(HostSetting::RepeatSeconds),
            ),
            deadline: Duration::from_secs_f64(
                number(HostSetting::DeadlineMs).unwrap_or(250.0) / 1e3,
            ),
            memory_limit: bytes(HostSetting::MemoryLimitMb).unwrap_or(WASM32_MEMORY_MAX),
            heap_profile: heap_profile.unwrap_or(HeapProfile::Off),
        }
    }

    /// Checks the values that depend on each other.
    ///
    /// # Errors
    ///
    /// [`PluginError::InvalidValue`] if a leak would start again before it has ended.
    pub(crate) fn check<'a>(get: impl Fn(&str) -> Option<&'a Value>) -> Result<(), PluginError> {
        let number = |setting: HostSetting| match get(setting.name()) {
            Some(Value::Number(v)) => Some(*v),
            _ => None,
        };
        let Some(repeat) = number(HostSetting::RepeatSeconds) else {
            return Ok(());
        };
        let message = match number(HostSetting::DurationSeconds) {
            Some(duration) if repeat > duration => return Ok(()),
            Some(duration) => format!("takes more than duration_seconds, which is {duration}"),
            None => "needs duration_seconds: without it, the leak stays active".to_owned(),
        };
        Err(PluginError::InvalidValue {
            name: HostSetting::RepeatSeconds.name().to_owned(),
            message,
        })
    }
}
