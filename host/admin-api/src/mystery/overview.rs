//! The mystery in the console's updates.

use serde::Serialize;

use super::observe::{ObservedPlugin, plugins};
use crate::state::ApiState;
use mystery::Visibility;

/// The mystery that runs, as the console shows it.
#[derive(Debug, Serialize)]
pub(crate) struct MysteryOverview {
    /// `changing` while a game starts or ends, `running`, or `over`.
    status: &'static str,
    difficulty: Option<u8>,
    /// Distinguishes games.
    started_at: Option<String>,
    visibility: Visibility,
    elapsed_seconds: Option<f64>,
    duration_seconds: Option<f64>,
    /// The names under which the plugins run.
    names: Vec<String>,
    /// The plugins, where the level shows them.
    plugins: Option<Vec<ObservedPlugin>>,
}

impl MysteryOverview {
    /// The mystery; `None` if none hides anything.
    pub(crate) fn read(state: &ApiState) -> Option<Self> {
        let visibility = state.mystery.visibility()?;
        let session = state.mystery.session();
        let Some(session) = session else {
            return Some(MysteryOverview {
                status: "changing",
                difficulty: None,
                started_at: None,
                visibility,
                elapsed_seconds: None,
                duration_seconds: None,
                names: Vec::new(),
                plugins: None,
            });
        };
        let order = session.game.order();
        let players = session.game.players().iter();
        Some(MysteryOverview {
            status: if session.is_over() { "over" } else { "running" },
            difficulty: Some(order.difficulty.level()),
            started_at: Some(session.started_at.to_string()),
            visibility,
            elapsed_seconds: Some(session.elapsed().min(order.duration).as_secs_f64()),
            duration_seconds: Some(order.duration.as_secs_f64()),
            names: players.map(|player| player.alias.clone()).collect(),
            plugins: visibility.shows_plugins().then(|| plugins(state)),
        })
    }
}

impl ApiState {
    /// Whether a mystery hides which plugins run.
    pub fn hides_plugins(&self) -> bool {
        self.mystery.visibility().is_some()
    }

    /// Whether the memory of each plugin can be shown.
    pub fn shows_plugin_memory(&self) -> bool {
        self.mystery
            .visibility()
            .is_none_or(Visibility::shows_plugins)
    }

    /// Whether source lines can be shown.
    pub fn shows_lines(&self) -> bool {
        let visibility = self.mystery.visibility();
        visibility.is_none_or(|visibility| visibility == Visibility::Lines)
    }
}
