//! What is true of a simulation: what leaks, since when, how much, and when the limit is reached.

use serde::Serialize;

/// A limit that is further away is out of reach: 48 hours.
const OUT_OF_REACH_SECONDS: u64 = 48 * 3600;

/// What a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its memory grows without end while its bug is active.
    Leak,
    /// It only looks like a leak.
    Decoy,
    /// It runs without its bug all the time.
    Healthy,
}

impl Role {
    /// The role of a plugin whose bug is active at some time, by the title of its manifest: the
    /// title of a decoy begins with "Decoy:".
    pub fn of_title(title: &str) -> Self {
        if title.starts_with("Decoy:") {
            Self::Decoy
        } else {
            Self::Leak
        }
    }

    /// The word for it in reports and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Decoy => "decoy",
            Self::Healthy => "healthy",
        }
    }
}

/// The truth about one plugin. Times are seconds on the clock of the alerts that are judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// The id of the plugin, as in the label `plugin`.
    pub plugin: String,
    /// What it is.
    pub role: Role,
    /// When its bug becomes active; `None` if it never does.
    pub onset: Option<u64>,
    /// When its bug ends, or the end of the observation.
    pub end: u64,
    /// When the process is first killed at its limit after the onset.
    pub limit_reached: Option<u64>,
    /// When the limit would be reached at the mean growth, if it is not reached. `None` if linear
    /// memory does not grow, or if a new process was deployed in between.
    pub limit_expected: Option<u64>,
    /// Seconds from the onset until a process that nobody replaces would reach the limit at the
    /// mean growth of linear memory; `None` if it does not grow.
    pub seconds_to_limit: Option<u64>,
    /// Mean growth of live bytes per request while the bug is active, in the first process that has
    /// it.
    pub bytes_per_request: f64,
    /// The same for bytes of linear memory, which includes free memory that the allocator holds.
    pub linear_per_request: f64,
}

impl Truth {
    /// Whether alerts about this plugin are true at some time.
    pub fn is_leak(&self) -> bool {
        self.role == Role::Leak && self.onset.is_some()
    }

    /// Whether the limit is too far away to matter: it was not reached, and at the mean growth a
    /// process would live for more than two days.
    pub fn is_out_of_reach(&self) -> bool {
        let lives = self.seconds_to_limit;
        self.limit_reached.is_none() && lives.is_none_or(|seconds| seconds > OUT_OF_REACH_SECONDS)
    }

    /// When the limit is reached, or would be.
    pub fn limit_at(&self) -> Option<u64> {
        self.limit_reached.or(self.limit_expected)
    }
}

/// A new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// When the old process ended, in seconds.
    pub at: u64,
    /// Why.
    pub cause: RestartCause,
}

/// Why a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartCause {
    /// It reached its memory limit.
    Killed,
    /// A new version was deployed.
    Deployed,
}
