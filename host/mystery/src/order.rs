//! What somebody asks for: the seed, the level and the length of a game.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The lengths that a game can have: 10 seconds to 24 hours.
pub const DURATION_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 60 * 60);

/// The length of a game if nobody asks for another one: 10 minutes.
const DEFAULT_DURATION: Duration = Duration::from_secs(10 * 60);

/// The level of a game, 1 (easy) to 5 (hard).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Difficulty(u8);

/// What a player sees at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visibility {
    /// Level 1: the source lines that hold memory.
    Lines,
    /// Level 2: the five functions that hold the most memory, without lines.
    Functions,
    /// Level 3: metrics of the process and of each plugin, alerts and traces; no call stacks.
    PluginMetrics,
    /// Levels 4 and 5: metrics of the process, alerts and traces.
    ProcessMetrics,
}

/// What a game is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Decides everything that is random.
    pub seed: u64,
    /// The level.
    pub difficulty: Difficulty,
    /// The length, within [`DURATION_RANGE`].
    #[serde(
        rename = "duration_seconds",
        serialize_with = "crate::seconds::serialize"
    )]
    pub duration: Duration,
}

/// An order that cannot be played. The text says what to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The level is not one of the five.
    #[error("there is no difficulty {0}: send a number from 1 to 5")]
    Difficulty(u8),
    /// The length is out of range.
    #[error("a game of {} s is not possible: send a duration from 10s to 24h", .0.as_secs_f64())]
    Duration(Duration),
}

impl Difficulty {
    /// All levels, the easiest first.
    pub const ALL: [Difficulty; 5] = [
        Difficulty(1),
        Difficulty(2),
        Difficulty(3),
        Difficulty(4),
        Difficulty(5),
    ];

    /// The level with this number.
    ///
    /// # Errors
    ///
    /// [`OrderError::Difficulty`] if the number is not from 1 to 5.
    pub fn new(level: u8) -> Result<Self, OrderError> {
        match level {
            1..=5 => Ok(Difficulty(level)),
            other => Err(OrderError::Difficulty(other)),
        }
    }

    /// The number, 1 to 5.
    #[must_use]
    pub fn level(self) -> u8 {
        self.0
    }

    /// The number of plugins in a game of this level: 3 to 7.
    #[must_use]
    pub fn players(self) -> usize {
        usize::from(self.0) + 2
    }
}

impl TryFrom<u8> for Difficulty {
    type Error = OrderError;

    fn try_from(level: u8) -> Result<Self, OrderError> {
        Difficulty::new(level)
    }
}

impl From<Difficulty> for u8 {
    fn from(difficulty: Difficulty) -> u8 {
        difficulty.0
    }
}

impl Visibility {
    /// What players see at this level.
    #[must_use]
    pub fn of(difficulty: Difficulty) -> Self {
        match difficulty.level() {
            1 => Visibility::Lines,
            2 => Visibility::Functions,
            3 => Visibility::PluginMetrics,
            _ => Visibility::ProcessMetrics,
        }
    }

    /// Whether players see numbers of each plugin, as opposed to the whole process only.
    #[must_use]
    pub fn shows_plugins(self) -> bool {
        self != Visibility::ProcessMetrics
    }
}

impl Order {
    /// A game of this level; of 10 minutes if `duration` is `None`.
    ///
    /// # Errors
    ///
    /// [`OrderError::Duration`] if the length is out of [`DURATION_RANGE`].
    pub fn new(
        seed: u64,
        difficulty: Difficulty,
        duration: Option<Duration>,
    ) -> Result<Self, OrderError> {
        let duration = duration.unwrap_or(DEFAULT_DURATION);
        if !DURATION_RANGE.contains(&duration) {
            return Err(OrderError::Duration(duration));
        }
        Ok(Order {
            seed,
            difficulty,
            duration,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_lengths_out_of_range_are_refused_with_what_to_send() {
        for wrong in [0, 6, 255] {
            let error = Difficulty::new(wrong).unwrap_err().to_string();
            assert!(error.contains("from 1 to 5"), "{error}");
        }
        let level = Difficulty::new(3).unwrap();
        for wrong in [0, 9, 24 * 3600 + 1] {
            let error = Order::new(1, level, Some(Duration::from_secs(wrong))).unwrap_err();
            assert!(error.to_string().contains("10s to 24h"), "{error}");
        }
        let order = Order::new(1, level, None).unwrap();
        assert_eq!(order.duration, Duration::from_secs(600));
        for right in [10, 24 * 3600] {
            assert!(Order::new(1, level, Some(Duration::from_secs(right))).is_ok());
        }
    }

    #[test]
    fn a_level_is_a_number_in_json() {
        let level: Difficulty = serde_json::from_str("4").unwrap();
        assert_eq!(serde_json::to_string(&level).unwrap(), "4");
        assert!(serde_json::from_str::<Difficulty>("6").is_err());
    }

    #[test]
    fn each_level_shows_no_more_than_the_one_before() {
        let seen = Difficulty::ALL.map(Visibility::of);
        let expected = [
            Visibility::Lines,
            Visibility::Functions,
            Visibility::PluginMetrics,
            Visibility::ProcessMetrics,
            Visibility::ProcessMetrics,
        ];
        assert_eq!(seen, expected);
        assert!(seen[2].shows_plugins() && !seen[3].shows_plugins());
    }
}
