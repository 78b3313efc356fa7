//! The plugins of a game.

use std::time::Duration;

use serde::Serialize;

use crate::kind::LeakKind;

/// What a plugin does in a game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It leaks from its onset on.
    Leak,
    /// It only looks like a leak.
    Decoy,
    /// A leak pattern with its bug fixed.
    Bystander,
}

/// The value of a setting, as `POST /admin/leaks/{name}` takes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A word.
    Text(String),
}

/// How a player leaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeakPlan {
    /// Which requests leave memory behind.
    pub kind: LeakKind,
    /// The time from the start of the game to the first request that can leak.
    #[serde(rename = "onset_seconds", serialize_with = "crate::seconds::serialize")]
    pub onset: Duration,
    /// The settings that make it leak. The event
    /// [`Action::StartLeak`](crate::Action::StartLeak) has them, too.
    pub settings: Vec<(String, SettingValue)>,
    /// The bytes that the plan expects it to retain by the end of the game, if there is no deploy.
    pub expected_bytes: u64,
}

/// One plugin of a game.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Player {
    /// The name that players see: `plugin-a`.
    pub alias: String,
    /// The id of the plugin.
    pub plugin: String,
    /// What it does.
    pub role: Role,
    /// When it is switched on, from the start of the game. Zero but for a late decoy at level 5.
    #[serde(
        rename = "enabled_at_seconds",
        serialize_with = "crate::seconds::serialize"
    )]
    pub enabled_at: Duration,
    /// The settings to start with. All others are at their defaults.
    pub settings: Vec<(String, SettingValue)>,
    /// How it leaks, for [`Role::Leak`].
    pub leak: Option<LeakPlan>,
}

impl Player {
    /// Whether it has begun to leak, or to look like a leak, at this time of the game.
    #[must_use]
    pub fn has_begun(&self, elapsed: Duration) -> bool {
        let begins = self
            .leak
            .as_ref()
            .map_or(self.enabled_at, |leak| leak.onset);
        begins <= elapsed
    }
}

impl SettingValue {
    pub(crate) fn text(word: &str) -> Self {
        SettingValue::Text(word.to_owned())
    }

    /// A whole number of any unsigned size; values that are too large for a setting are limited.
    pub(crate) fn whole(number: u64) -> Self {
        SettingValue::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
