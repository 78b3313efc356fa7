//! What sets a leak off: the closed list that a player chooses from.

use serde::{Deserialize, Serialize};

use crate::order::Difficulty;

/// Which requests leave memory behind, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeakKind {
    /// Each request, the same amount.
    EveryRequest,
    /// A random share of the requests, 20 % to 50 %.
    SomeRequests,
    /// Requests that are answered with status 500 or above.
    OnError,
    /// Requests of one tenant.
    OneTenant,
    /// One request in many, each of them a large block.
    Steps,
    /// Each request, more and more.
    Accelerating,
}

impl LeakKind {
    /// The whole list.
    pub const ALL: [LeakKind; 6] = [
        LeakKind::EveryRequest,
        LeakKind::SomeRequests,
        LeakKind::OnError,
        LeakKind::OneTenant,
        LeakKind::Steps,
        LeakKind::Accelerating,
    ];

    /// The kinds that games of this level have.
    #[must_use]
    pub fn possible(difficulty: Difficulty) -> &'static [LeakKind] {
        match difficulty.level() {
            1 => &[LeakKind::EveryRequest],
            2 => &[LeakKind::EveryRequest, LeakKind::SomeRequests],
            _ => &Self::ALL,
        }
    }

    /// Whether any plugin can leak this way. The other kinds need the setting `curve`, which only
    /// plugins with the lab's SDK have.
    pub(crate) fn works_with_every_plugin(self) -> bool {
        matches!(self, LeakKind::EveryRequest | LeakKind::SomeRequests)
    }

    /// The name in answers: `every-request`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LeakKind::EveryRequest => "every-request",
            LeakKind::SomeRequests => "some-requests",
            LeakKind::OnError => "on-error",
            LeakKind::OneTenant => "one-tenant",
            LeakKind::Steps => "steps",
            LeakKind::Accelerating => "accelerating",
        }
    }

    /// What it does, as the end of a sentence that begins with "It leaks".
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            LeakKind::EveryRequest => "the same amount with every request",
            LeakKind::SomeRequests => "with a random share of the requests",
            LeakKind::OnError => "with requests that are answered with status 500 or above",
            LeakKind::OneTenant => "with the requests of one tenant",
            LeakKind::Steps => "one large block in many requests",
            LeakKind::Accelerating => "more and more with every request",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_json() {
        for kind in LeakKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert!(serde_json::from_str::<LeakKind>("\"sometimes\"").is_err());
    }
}
