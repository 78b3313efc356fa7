//! Changes that free memory on purpose, or make a plugin allocate differently.

use std::time::Instant;

use plugin_host::driver::journal::{Event, EventKind};

/// The time of the last change that makes earlier samples worthless.
pub(crate) fn last_memory_change(events: &[Event]) -> Option<Instant> {
    let is_change = |event: &&Event| match event.kind {
        EventKind::Enabled
        | EventKind::Configured
        | EventKind::Cleared { .. }
        | EventKind::Restarted { .. } => true,
        EventKind::Loaded
        | EventKind::Disabled
        // A scheduled leak is found like one that nobody switched on.
        | EventKind::ScheduledOn
        | EventKind::ScheduledOff
        | EventKind::Grown { .. }
        | EventKind::Exhausted { .. }
        | EventKind::Trapped { .. } => false,
    };
    events.iter().rev().find(is_change).map(|e| e.at.instant)
}
