//! What is true of the plugins of a running host: which leak, and since when.

use ground_truth::truth::{Role, Truth};
use jiff::Timestamp;

use crate::catalogue::LeakGroup;
use crate::mystery_run::Session;
use crate::scorer_run::seconds;
use crate::state::ApiState;
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::EventKind;

/// The variant without the bug.
const FIXED: &str = "fixed";

/// The plugins that are loaded under their own names and were ever active.
pub(super) fn of_plugins(state: &ApiState, now: Timestamp) -> Vec<Truth> {
    if state.registry.is_masked() {
        return Vec::new();
    }
    let plugins = state.registry.plugins();
    let active = plugins.iter().filter_map(|plugin| {
        let (onset, end) = active_time(plugin)?;
        let role = match LeakGroup::of(plugin) {
            LeakGroup::Decoy => Role::Decoy,
            _ if plugin.details().settings.variant() == FIXED => Role::Healthy,
            _ => Role::Leak,
        };
        Some(truth(state, plugin.id(), role, (onset, end), now))
    });
    active.collect()
}

/// The plugins of a mystery, under the names that its players see.
pub(crate) fn of_mystery(state: &ApiState, session: &Session) -> Vec<Truth> {
    let now = Timestamp::now();
    let start = seconds(session.started_at);
    let players = session.game.players().iter().map(|player| {
        let begins = player
            .leak
            .as_ref()
            .map_or(player.enabled_at, |leak| leak.onset);
        let role = match player.role {
            // A leak after the end of the game could not be reported.
            _ if !player.has_begun(session.elapsed()) => Role::Healthy,
            mystery::Role::Leak => Role::Leak,
            mystery::Role::Decoy => Role::Decoy,
            mystery::Role::Bystander => Role::Healthy,
        };
        let onset = start + begins.as_secs();
        truth(state, &player.alias, role, (onset, None), now)
    });
    players.collect()
}

/// When a plugin first became active, and when it ended; `None` if it was never active.
fn active_time(plugin: &Plugin) -> Option<(u64, Option<u64>)> {
    let (mut onset, mut end) = (None, None);
    for event in plugin.journal().events() {
        let at = event.at.unix_seconds as u64;
        match event.kind {
            EventKind::Enabled | EventKind::ScheduledOn => {
                onset = onset.or(Some(at));
                end = None;
            }
            EventKind::Disabled | EventKind::ScheduledOff => end = Some(at),
            _ => {}
        }
    }
    Some((onset?, end))
}

fn truth(
    state: &ApiState,
    plugin: &str,
    role: Role,
    (onset, end): (u64, Option<u64>),
    now: Timestamp,
) -> Truth {
    let now = seconds(now);
    let left = state.monitor.process_forecast().seconds_to_limit;
    let limit = left.map(|left| now.saturating_add(left as u64));
    let limit = limit.filter(|_| role == Role::Leak && end.is_none());
    Truth {
        plugin: plugin.to_owned(),
        role,
        onset: (role != Role::Healthy).then_some(onset),
        end: end.unwrap_or(now),
        limit_reached: None,
        limit_expected: limit,
        seconds_to_limit: limit.map(|limit| limit.saturating_sub(onset)),
        bytes_per_request: 0.0,
        linear_per_request: 0.0,
    }
}
