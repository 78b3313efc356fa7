//! The mystery game: which plugins leak, how, and since when, all from one seed.
//!
//! A [`Game`] is a plan: players under aliases, the times of the [`Event`]s, and the traffic. The
//! host plays it and hides what the [`Visibility`] of the level hides. A learner sends an
//! [`Answer`]; [`grade`] compares it with the plan and with what the host [`Measured`]. The same
//! order and the same roster of plugins always give the same game, and the same answer always gets
//! the same grade.
//!
//! This crate is pure: it knows no plugin host, no HTTP, no clock and no random device.

mod answer;
mod baseline;
mod events;
mod fix;
mod game;
mod grade;
mod hint;
mod kind;
mod leader_board;
mod order;
mod player;
mod random;
mod report;
mod seconds;
mod traffic;

pub use self::answer::{Answer, Measured};
pub use self::baseline::{
    Agent, Baseline, GrowingLine, Move, Observation, PluginReading, PluginSpan, ProcessReading,
    Trace, View,
};
pub use self::events::{Action, Event};
pub use self::fix::Fix;
pub use self::game::{Candidate, Game, GameError, LeakTruth, MAX_REQUESTS};
pub use self::grade::{Grade, Part, grade, graded_parts};
pub use self::hint::{HINTS, Hint, hints};
pub use self::kind::LeakKind;
pub use self::leader_board::{LeaderBoard, NameError, Standing};
pub use self::order::{DURATION_RANGE, Difficulty, Order, OrderError, Visibility};
pub use self::player::{LeakPlan, Player, Role, SettingValue};
pub use self::report::{Participant, REPORT_STYLE, Report, TimelineEntry};
pub use self::traffic::{PlannedRequest, TrafficPhase};
