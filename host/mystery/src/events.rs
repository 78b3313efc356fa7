//! What the host does during a game, besides the traffic.

use std::time::Duration;

use serde::Serialize;

use crate::player::SettingValue;

/// Something that happens at a time of the game.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The time from the start of the game.
    #[serde(rename = "at_seconds", serialize_with = "crate::seconds::serialize")]
    pub at: Duration,
    /// What the host does.
    pub action: Action,
}

/// What the host does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Action {
    /// Change the settings of a player, so that it leaks from now on: variant `leaky`, and the
    /// settings of its kind. All settings change in one call. A curve starts when it is set.
    StartLeak {
        /// The player.
        alias: String,
        /// The settings to change.
        settings: Vec<(String, SettingValue)>,
    },
    /// Switch on a player that was off until now.
    Enable {
        /// The player.
        alias: String,
    },
    /// Give each player a fresh instance with its current settings. What they retained is gone, and
    /// curves start again.
    Deploy,
}
