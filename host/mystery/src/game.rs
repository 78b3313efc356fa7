//! A game: everything that a seed decides.

mod draw;
mod leaks;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::events::Event;
use crate::fix::Fix;
use crate::kind::LeakKind;
use crate::order::{Order, Visibility};
use crate::player::{Player, Role};
use crate::traffic::{self, PlannedRequest, TrafficPhase};

/// The requests of a game, at most. Long games have a lower rate, so that no game retains more than
/// about 60 MiB.
pub const MAX_REQUESTS: u64 = 24_000;

/// A loaded plugin that may play.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The id of the plugin.
    pub id: String,
    /// Whether it only looks like a leak.
    pub is_decoy: bool,
}

/// Why a game cannot be made. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GameError {
    /// Not enough plugins that leak are loaded.
    #[error(
        "a game of difficulty {difficulty} needs {needed} loaded leak patterns and there are \
         {found}: load more plugins, or choose a lower difficulty"
    )]
    TooFewPatterns {
        /// The level, 1 to 5.
        difficulty: u8,
        /// The number that the game needs.
        needed: usize,
        /// The number of candidates.
        found: usize,
    },
    /// No decoy is loaded.
    #[error("a game of difficulty {difficulty} needs a decoy: load one, or choose difficulty 1")]
    NoDecoy {
        /// The level, 2 to 5.
        difficulty: u8,
    },
    /// Two candidates have the same id.
    #[error("the plugin {id:?} is twice among the candidates: name each plugin once")]
    Duplicate {
        /// The id.
        id: String,
    },
}

/// The plan of a game. It never changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Game {
    order: Order,
    players: Vec<Player>,
    events: Vec<Event>,
    traffic: Vec<TrafficPhase>,
}

/// What is true of one leak: the solution of the game.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeakTruth {
    /// The name that players see.
    pub alias: String,
    /// The id of the plugin.
    pub plugin: String,
    /// Which requests leave memory behind.
    pub kind: LeakKind,
    /// The time from the start of the game to the first request that can leak.
    #[serde(rename = "onset_seconds", serialize_with = "crate::seconds::serialize")]
    pub onset: Duration,
    /// The changes that stop it; each of them is right. Empty if the lab does not know the plugin.
    pub fixes: Vec<Fix>,
}

impl Game {
    /// The game of this order with these plugins. The sequence of the candidates does not matter.
    ///
    /// # Errors
    ///
    /// A [`GameError`] if the candidates are too few for the level.
    pub fn new(order: Order, roster: &[Candidate]) -> Result<Self, GameError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = roster.iter().find(|candidate| !seen.insert(&candidate.id)) {
            let id = twice.id.clone();
            return Err(GameError::Duplicate { id });
        }
        draw::game(order, roster)
    }

    /// What the game was made from.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// What players see.
    #[must_use]
    pub fn visibility(&self) -> Visibility {
        Visibility::of(self.order.difficulty)
    }

    /// The plugins, in the order of their aliases.
    #[must_use]
    pub fn players(&self) -> &[Player] {
        &self.players
    }

    /// The player with this alias.
    #[must_use]
    pub fn player(&self, alias: &str) -> Option<&Player> {
        self.players.iter().find(|player| player.alias == alias)
    }

    /// The alias of this plugin, if it plays.
    #[must_use]
    pub fn alias_of(&self, plugin: &str) -> Option<&str> {
        let mut players = self.players.iter();
        let player = players.find(|player| player.plugin == plugin)?;
        Some(&player.alias)
    }

    /// The players with this role, in the order of their aliases.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Player> {
        self.players
            .iter()
            .filter(move |player| player.role == role)
    }

    /// What the host does and when, by time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The phases of the traffic, by time. The first one begins at zero.
    #[must_use]
    pub fn traffic(&self) -> &[TrafficPhase] {
        &self.traffic
    }

    /// The number of requests, at most [`MAX_REQUESTS`].
    #[must_use]
    pub fn total_requests(&self) -> u64 {
        traffic::total(&self.traffic, self.order.duration)
    }

    /// Request `index`, from 0; `None` beyond the last one.
    #[must_use]
    pub fn request(&self, index: u64) -> Option<PlannedRequest> {
        traffic::request(self.order.seed, &self.traffic, self.order.duration, index)
    }

    /// The requests at `from` or later and before `to`, by time.
    pub fn requests_between(
        &self,
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = PlannedRequest> {
        let Order { seed, duration, .. } = self.order;
        let first = traffic::first_at(seed, &self.traffic, duration, from);
        (first..)
            .map_while(|index| self.request(index))
            .take_while(move |request| request.at < to)
    }

    /// The solution: each leak, in the order of the aliases.
    #[must_use]
    pub fn truth(&self) -> Vec<LeakTruth> {
        let truth = |player: &Player| {
            let leak = player.leak.as_ref()?;
            Some(LeakTruth {
                alias: player.alias.clone(),
                plugin: player.plugin.clone(),
                kind: leak.kind,
                onset: leak.onset,
                fixes: Fix::of_plugin(&player.plugin).to_vec(),
            })
        };
        self.players.iter().filter_map(truth).collect()
    }

    /// The time of the first onset.
    #[must_use]
    pub fn first_onset(&self) -> Duration {
        let onsets = self
            .players
            .iter()
            .filter_map(|player| player.leak.as_ref());
        let first = onsets.map(|leak| leak.onset).min();
        first.unwrap_or(self.order.duration)
    }
}

#[cfg(test)]
pub(crate) mod tests;
