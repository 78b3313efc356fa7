//! The settings that the host adds to every plugin. A plugin need not know them.
//!
//! [`HostSetting`] is the host's list of their names. Plugin authors read the same names in
//! `wit/leak-plugin.wit`, and the SDK rejects them at compile time (`RESERVED` in its `settings`).

use std::time::Duration;

use crate::settings::names;
use crate::settings::spec::{AppliedBy, SettingSpec, SettingType, Value};

/// Bytes in one unit of the API's `*_mb` fields: 2^20.
pub(crate) const MEBIBYTE: f64 = 1_048_576.0;

/// The most that one linear memory can hold: 4 GiB, the range of a 32-bit address.
pub(crate) const WASM32_MEMORY_MAX: u64 = 1 << 32;

/// Whether the host tracks the live bytes of a plugin by source line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeapProfile {
    /// The component is instrumented; every allocation counts.
    Exact,
    /// The component runs unmodified.
    Off,
}

impl HeapProfile {
    /// Every value.
    pub const ALL: [Self; 2] = [HeapProfile::Exact, HeapProfile::Off];

    /// The word for it in settings and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            HeapProfile::Exact => "exact",
            HeapProfile::Off => "off",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }
}

/// The defaults that the command line sets for every plugin.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The longest that one call may take.
    pub deadline: Duration,
    /// The longest that a request waits for a plugin whose calls are quick.
    pub queue_timeout: Duration,
    /// The most linear memory of one plugin, in bytes; `None` means 4 GiB, the most that wasm
    /// allows.
    pub memory_limit: Option<u64>,
    /// Whether the host tracks live bytes by source line.
    pub heap_profile: HeapProfile,
}

/// A setting of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostSetting {
    Probability,
    MaxMb,
    TargetMb,
    TargetMinutes,
    TtlSeconds,
    StartAfterSeconds,
    DurationSeconds,
    RepeatSeconds,
    DeadlineMs,
    MemoryLimitMb,
    HeapProfile,
}

/// Whether a plugin may not declare a setting of this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    name == names::ENABLED || HostSetting::ALL.iter().any(|s| s.name() == name)
}

impl HostSetting {
    /// Every setting, in the order in which the API lists them.
    pub(crate) const ALL: [Self; 11] = [
        HostSetting::Probability,
        HostSetting::MaxMb,
        HostSetting::TargetMb,
        HostSetting::TargetMinutes,
        HostSetting::TtlSeconds,
        HostSetting::StartAfterSeconds,
        HostSetting::DurationSeconds,
        HostSetting::RepeatSeconds,
        HostSetting::DeadlineMs,
        HostSetting::MemoryLimitMb,
        HostSetting::HeapProfile,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            HostSetting::Probability => "probability",
            HostSetting::MaxMb => "max_mb",
            HostSetting::TargetMb => "target_mb",
            HostSetting::TargetMinutes => "target_minutes",
            HostSetting::TtlSeconds => "ttl_seconds",
            HostSetting::StartAfterSeconds => "start_after_seconds",
            HostSetting::DurationSeconds => "duration_seconds",
            HostSetting::RepeatSeconds => "repeat_seconds",
            HostSetting::DeadlineMs => "deadline_ms",
            HostSetting::MemoryLimitMb => "memory_limit_mb",
            HostSetting::HeapProfile => "heap_profile",
        }
    }

    pub(crate) fn spec(self, defaults: &Defaults) -> SettingSpec {
        let (kind, default) = self.type_and_default(defaults);
        SettingSpec {
            name: self.name().into(),
            description: self.description().into(),
            kind,
            optional: self.is_optional(),
            default,
            applied_by: AppliedBy::Host,
        }
    }

    fn description(self) -> &'static str {
        match self {
            HostSetting::Probability => "Share of requests for which the pattern runs",
            HostSetting::MaxMb => "Retained MiB at which the pattern stops running",
            HostSetting::TargetMb => {
                "Retained MiB to reach within target_minutes, at any request rate; \
                 null: each request retains payload_bytes"
            }
            HostSetting::TargetMinutes => "Minutes from the first request to target_mb",
            HostSetting::TtlSeconds => "Seconds after which the leak disables itself",
            HostSetting::StartAfterSeconds => {
                "Seconds from enabling the leak until it is active; null: at once"
            }
            HostSetting::DurationSeconds => {
                "Seconds for which the leak is active; null: until it is disabled"
            }
            HostSetting::RepeatSeconds => {
                "Seconds from one start to the next, more than duration_seconds; null: one start"
            }
            HostSetting::DeadlineMs => {
                "Milliseconds that one call may take before the host stops the plugin"
            }
            HostSetting::MemoryLimitMb => {
                "The most MiB of linear memory for the plugin; null: what wasm allows"
            }
            HostSetting::HeapProfile => {
                "Whether the host tracks live bytes by source line; \
                 a change starts a fresh instance"
            }
        }
    }

    fn type_and_default(self, defaults: &Defaults) -> (SettingType, Value) {
        let number = |min, max, default| (SettingType::Number { min, max }, default);
        match self {
            HostSetting::Probability => number(0.0, 1.0, Value::Number(1.0)),
            HostSetting::MaxMb => number(0.0, 4096.0, Value::Unset),
            HostSetting::TargetMb => number(1.0, 4096.0, Value::Unset),
            HostSetting::TargetMinutes => number(0.1, 1440.0, Value::Number(10.0)),
            HostSetting::TtlSeconds | HostSetting::StartAfterSeconds => {
                number(0.0, 604_800.0, Value::Unset)
            }
            HostSetting::DurationSeconds | HostSetting::RepeatSeconds => {
                number(1.0, 604_800.0, Value::Unset)
            }
            HostSetting::DeadlineMs => {
                let kind = SettingType::Integer {
                    min: 10,
                    max: 60_000,
                };
                let default = i64::try_from(defaults.deadline.as_millis()).unwrap_or(250);
                (kind, Value::Integer(default))
            }
            HostSetting::MemoryLimitMb => {
                let mebibytes = |bytes| Value::Number(bytes as f64 / MEBIBYTE);
                number(
                    1.0,
                    4096.0,
                    defaults.memory_limit.map_or(Value::Unset, mebibytes),
                )
            }
            HostSetting::HeapProfile => {
                let names = HeapProfile::ALL.map(|profile| profile.name().to_owned());
                let default = defaults.heap_profile.name();
                (
                    SettingType::Choice(names.into()),
                    Value::Text(default.into()),
                )
            }
        }
    }

    fn is_optional(self) -> bool {
        matches!(
            self,
            HostSetting::MaxMb
                | HostSetting::TargetMb
                | HostSetting::TtlSeconds
                | HostSetting::StartAfterSeconds
                | HostSetting::DurationSeconds
                | HostSetting::RepeatSeconds
                | HostSetting::MemoryLimitMb
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wit_lists_the_reserved_names() {
        let wit = include_str!("../../../../wit/leak-plugin.wit").replace("///", "");
        let (_, sentence) = wit.split_once("The host reserves").unwrap();
        let (sentence, _) = sentence.split_once("name: string").unwrap();
        let mut listed: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
        let mut reserved = HostSetting::ALL.map(HostSetting::name).to_vec();
        reserved.push(names::ENABLED);
        listed.sort_unstable();
        reserved.sort_unstable();
        assert_eq!(listed, reserved);
    }
}
