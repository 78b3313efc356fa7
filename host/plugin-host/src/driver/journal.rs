//! Recent events of a plugin. They explain the bends in a chart of its memory.
//!
//! Each plugin keeps its last `MAX_EVENTS` events. Linear memory grows in many small steps, so
//! steps less than `GROWTH_MERGE_WINDOW` apart are one event.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock_reading::ClockReading;

/// The most events kept for each plugin.
const MAX_EVENTS: usize = 32;

/// Two steps of growth less than this apart are one event.
const GROWTH_MERGE_WINDOW: Duration = Duration::from_secs(20);

/// Why a fresh instance was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartReason {
    /// A client asked for a reset.
    Reset,
    /// The old one retained nothing, and its linear memory was given back.
    Collected,
    /// Its component was loaded again, or with another heap profile.
    Reloaded,
}

/// The kind of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The plugin was loaded.
    Loaded,
    /// The leak was enabled.
    Enabled,
    /// The leak was disabled.
    Disabled,
    /// The schedule made the leak active.
    ScheduledOn,
    /// The schedule made the leak inactive.
    ScheduledOff,
    /// Settings were changed.
    Configured,
    /// The pattern dropped what it retained.
    Cleared {
        /// Dropped objects, in the manifest's unit.
        objects: u64,
        /// Dropped bytes.
        bytes: u64,
    },
    /// A fresh instance replaced the old one.
    Restarted {
        /// Why.
        why: RestartReason,
        /// The generation of the fresh instance.
        generation: u64,
    },
    /// Linear memory grew.
    Grown {
        /// Bytes before the first step.
        from: u64,
        /// Bytes after the last one.
        to: u64,
    },
    /// The host denied it memory, and its instance was retired.
    Exhausted {
        /// One sentence.
        reason: String,
    },
    /// Any other fault retired its instance.
    Trapped {
        /// One sentence.
        reason: String,
    },
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it happened; for growth, the first step.
    pub at: ClockReading,
    /// For growth, the last step; else the same as `at`.
    pub until: ClockReading,
    /// What happened.
    pub kind: EventKind,
}

/// The recent events of one plugin.
#[derive(Debug, Default)]
pub struct Journal {
    events: Mutex<VecDeque<Event>>,
}

impl Journal {
    /// Records an event that happens now.
    pub(crate) fn record(&self, kind: EventKind) {
        self.record_at(ClockReading::now(), kind);
    }

    fn record_at(&self, at: ClockReading, kind: EventKind) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(last), EventKind::Grown { to: size, .. }) = (events.back_mut(), &kind)
            && let EventKind::Grown { to, .. } = &mut last.kind
            && at.instant.saturating_duration_since(last.until.instant) < GROWTH_MERGE_WINDOW
        {
            *to = *size;
            last.until = at;
            return;
        }
        if events.len() == MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(Event {
            at,
            until: at,
            kind,
        });
    }

    /// The kept events, oldest first.
    pub fn events(&self) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(start: ClockReading, seconds: u64) -> ClockReading {
        ClockReading {
            instant: start.instant + Duration::from_secs(seconds),
            unix_seconds: start.unix_seconds + seconds as f64,
        }
    }

    #[test]
    fn steps_of_growth_close_to_each_other_are_one_event() {
        let (journal, start) = (Journal::default(), ClockReading::now());
        let grown = |from, to| EventKind::Grown { from, to };
        journal.record_at(start, grown(1, 2));
        journal.record_at(later(start, 15), grown(2, 3));
        journal.record_at(later(start, 30), grown(3, 4));
        journal.record_at(later(start, 31), EventKind::Disabled);
        journal.record_at(later(start, 32), grown(4, 5));
        journal.record_at(later(start, 60), grown(5, 6));
        let kinds: Vec<_> = journal.events().into_iter().map(|e| e.kind).collect();
        let expected = [grown(1, 4), EventKind::Disabled, grown(4, 5), grown(5, 6)];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_journal_keeps_only_the_last_events() {
        let journal = Journal::default();
        for objects in 0..100 {
            journal.record(EventKind::Cleared { objects, bytes: 0 });
        }
        let events = journal.events();
        assert_eq!(events.len(), MAX_EVENTS);
        let last = EventKind::Cleared {
            objects: 99,
            bytes: 0,
        };
        assert_eq!(events.last().map(|e| &e.kind), Some(&last));
    }
}
