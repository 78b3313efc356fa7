//! How a leak is fixed: the closed list that a player chooses from.

use serde::{Deserialize, Serialize};

/// The change that stops a leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    /// Give a collection a maximum size.
    BoundTheCollection,
    /// End entries that nobody has used for some time.
    ExpireEntries,
    /// Remove the listener when its request ends.
    RemoveTheListener,
    /// Make one of the references weak.
    BreakTheCycle,
    /// Refuse work while the queue is full.
    ApplyBackPressure,
    /// Cancel the timer when its request ends.
    CancelTheTimer,
    /// Give the label a small set of values.
    LimitTheLabels,
    /// Free a buffer that became too large.
    ReleaseTheBuffer,
    /// Store blocks of one size, so that free memory fits.
    ReuseOrCompact,
}

impl Fix {
    /// The whole list.
    pub const ALL: [Fix; 9] = [
        Fix::BoundTheCollection,
        Fix::ExpireEntries,
        Fix::RemoveTheListener,
        Fix::BreakTheCycle,
        Fix::ApplyBackPressure,
        Fix::CancelTheTimer,
        Fix::LimitTheLabels,
        Fix::ReleaseTheBuffer,
        Fix::ReuseOrCompact,
    ];

    /// The fixes of a plugin that the lab ships. The first one is the fix that the plugin's own
    /// variant `fixed` is known for; each of them is right. Empty for any other plugin.
    #[must_use]
    pub fn of_plugin(id: &str) -> &'static [Fix] {
        match id {
            "cache" => &[Fix::BoundTheCollection, Fix::ExpireEntries],
            "history" => &[Fix::BoundTheCollection],
            "listeners" => &[Fix::RemoveTheListener],
            "reference-cycle" => &[Fix::BreakTheCycle],
            "unbounded-queue" => &[Fix::ApplyBackPressure, Fix::BoundTheCollection],
            "sessions" => &[Fix::ExpireEntries, Fix::BoundTheCollection],
            "uncancelled-timers" => &[Fix::CancelTheTimer],
            "metric-labels" => &[Fix::LimitTheLabels],
            "peak-buffers" => &[Fix::ReleaseTheBuffer],
            "fragmentation" => &[Fix::ReuseOrCompact],
            _ => &[],
        }
    }

    /// The name in answers: `bound-the-collection`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fix::BoundTheCollection => "bound-the-collection",
            Fix::ExpireEntries => "expire-entries",
            Fix::RemoveTheListener => "remove-the-listener",
            Fix::BreakTheCycle => "break-the-cycle",
            Fix::ApplyBackPressure => "apply-back-pressure",
            Fix::CancelTheTimer => "cancel-the-timer",
            Fix::LimitTheLabels => "limit-the-labels",
            Fix::ReleaseTheBuffer => "release-the-buffer",
            Fix::ReuseOrCompact => "reuse-or-compact",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_json() {
        for fix in Fix::ALL {
            assert_eq!(serde_json::to_value(fix).unwrap(), fix.name());
        }
    }
}
