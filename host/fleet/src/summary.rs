//! What a host says of itself in `GET /admin/host`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One host in short. Fields that a host of another version leaves out are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSummary {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The service's name.
    pub service: String,
    /// The version of the program.
    pub version: String,
    /// The revision of its source.
    pub revision: String,
    /// `starting` or `ok`.
    pub status: String,
    /// Seconds since its process started.
    pub uptime_seconds: f64,
    /// Requests to `/api/data` since then.
    pub requests: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Its memory limit in bytes, if there is one.
    pub limit_bytes: Option<u64>,
    /// The leaks that are switched on.
    pub leaks_enabled: Vec<String>,
    /// The number of plugins in each state: `running`, `exhausted`, `faulted`.
    pub plugins: BTreeMap<String, u64>,
    /// What leaks there.
    pub verdict: Verdict,
}

/// The verdict of one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// `none`, `guest_leak`, …
    pub kind: String,
    /// `calm`, `leak` or `critical`.
    pub severity: String,
    /// One sentence.
    pub sentence: String,
    /// The plugin that matters most.
    pub plugin: Option<String>,
    /// Its source line that grows most.
    pub location: Option<String>,
    /// Bytes that one request leaves behind.
    pub bytes_per_request: f64,
    /// The present rate of requests.
    pub requests_per_second: f64,
    /// Growth of the resident memory at this rate.
    pub growth_bytes_per_second: f64,
    /// Seconds until the limit.
    pub seconds_to_limit: Option<f64>,
}

impl Verdict {
    /// Whether something leaks.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        matches!(self.severity.as_str(), "leak" | "critical")
    }

    /// 0 for calm, 1 for a leak, 2 for one that is critical.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self.severity.as_str() {
            "critical" => 2,
            "leak" => 1,
            _ => 0,
        }
    }
}

impl HostSummary {
    /// Resident memory as a share of the limit; 0 without a limit.
    #[must_use]
    pub fn fill(&self) -> f64 {
        match self.limit_bytes {
            Some(limit) if limit > 0 => self.rss_bytes as f64 / limit as f64,
            _ => 0.0,
        }
    }
}
