//! What a simulation plays: which plugins, with which settings, when, and under which load.

use plugin_host::settings::Value;

use crate::load_shape::Load;

/// The plugins of one simulated process, and its load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The plugins, at least one.
    pub plugins: Vec<PluginPlan>,
    /// When requests arrive.
    pub load: Load,
    /// Length of the simulation in seconds.
    pub seconds: u64,
    /// Seconds between two scrapes, at least 1.
    pub scrape_seconds: u64,
}

/// One plugin of a simulation.
#[derive(Debug, Clone)]
pub struct PluginPlan {
    /// Its id.
    pub plugin: String,
    /// Its settings other than the defaults.
    pub settings: Vec<(String, Value)>,
    /// What it does while its bug is not active.
    pub inactive: Inactive,
    /// When its bug is active, in seconds from the start: from the first number of each pair until
    /// before the second. In order, without overlaps.
    pub active: Vec<(u64, u64)>,
}

/// What a plugin does while its bug is not active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// It runs with `variant: fixed`, as the version before a bug does.
    Fixed,
    /// It is off, as a leak of a scenario.
    Off,
}

impl PluginPlan {
    /// Whether the bug is active at this second.
    pub fn is_active(&self, second: u64) -> bool {
        let mut phases = self.active.iter();
        phases.any(|(from, until)| (*from..*until).contains(&second))
    }

    /// The first second at which the bug is active; `None` if it never is.
    pub fn onset(&self) -> Option<u64> {
        self.active.first().map(|(from, _)| *from)
    }

    /// The second at which the bug ends for good.
    pub fn end(&self) -> Option<u64> {
        self.active.last().map(|(_, until)| *until)
    }
}
