//! What a player answers, and what the host measures to grade it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::fix::Fix;
use crate::kind::LeakKind;

/// A diagnosis. Each part that is left out gets no points.
///
/// In a game with two leaks, `location`, `kind`, `bytes_per_request`, `started_at_seconds` and
/// `fix` describe one of them, and the one that they describe best counts. `seconds_to_limit` is
/// about the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The aliases of the plugins that leak.
    pub leaking: Vec<String>,
    /// The aliases of the plugins that only look like a leak.
    pub decoys: Vec<String>,
    /// Where the retained memory was allocated: `plugins/cache/src/lib.rs:67` at level 1, the name
    /// of the function at level 2.
    pub location: Option<String>,
    /// Which requests leave memory behind.
    pub kind: Option<LeakKind>,
    /// Bytes that the leak retains per request of the service, over all requests since it began.
    pub bytes_per_request: Option<f64>,
    /// Seconds from the start of the game to the onset.
    pub started_at_seconds: Option<f64>,
    /// Seconds from the answer until the process reaches its memory limit.
    pub seconds_to_limit: Option<f64>,
    /// The change that stops the leak.
    pub fix: Option<Fix>,
}

/// What the host measured of one leak, at the time of the answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measured {
    /// The player.
    pub alias: String,
    /// Bytes that it has retained per request of the service, over all requests since its onset.
    /// What instances before a deploy had retained counts, too. `None` if there were too few
    /// requests to say; not graded then.
    pub bytes_per_request: Option<f64>,
    /// The lines that allocated what it retains, as `file:line`. Each of them is right. If empty,
    /// the location is not graded at level 1.
    pub location: Vec<String>,
    /// The functions of these lines. Each of them is right. If empty, the location is not graded at
    /// level 2.
    pub functions: Vec<String>,
    /// The growth of its retained bytes.
    pub growth_bytes_per_second: f64,
    /// Seconds until the process reaches its limit, the same for all leaks. `None` without a limit
    /// or without growth; not graded then.
    pub seconds_to_limit: Option<f64>,
    /// The memory limit of the process.
    pub limit_bytes: Option<u64>,
}

/// The names of an answer: without case and outer spaces, each once.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) leaking: BTreeSet<String>,
    pub(crate) decoys: BTreeSet<String>,
}

impl Answer {
    pub(crate) fn names(&self) -> Names {
        let set = |names: &[String]| {
            let names = names.iter().map(|name| name.trim().to_lowercase());
            names.filter(|name| !name.is_empty()).collect()
        };
        Names {
            leaking: set(&self.leaking),
            decoys: set(&self.decoys),
        }
    }
}
