//! What happened to a plugin lately, for whoever looks at a chart and asks why the line bends there.
//!
//! Bounded: each plugin keeps its last [`KEPT`] events. Growth of linear memory comes in many small steps, so steps
//! that follow each other within [`SAME_GROWTH`] are one event.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::timestamp::Timestamp;

/// Events kept for each plugin.
pub const KEPT: usize = 32;

/// Steps of growth this close to each other are one.
const SAME_GROWTH: Duration = Duration::from_secs(20);

/// Why there is a fresh instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Somebody asked for it.
    Reset,
    /// It retained nothing and its memory was given back.
    Collected,
    /// Its component was loaded again, or another way.
    Reloaded,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The plugin was loaded.
    Loaded,
    /// The leak was switched on.
    Enabled,
    /// The leak was switched off.
    Disabled,
    /// Settings were changed.
    Configured,
    /// What the pattern held was dropped.
    Cleared {
        /// How many objects.
        objects: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// A fresh instance took the place of the old one.
    Restarted {
        /// Why.
        why: Restart,
        /// The number of the fresh instance.
        generation: u64,
    },
    /// Linear memory grew.
    Grown {
        /// Bytes before the first step.
        from: u64,
        /// Bytes after the last one.
        to: u64,
    },
    /// It was refused memory and died of that.
    Exhausted {
        /// One sentence.
        reason: String,
    },
    /// It died of anything else.
    Trapped {
        /// One sentence.
        reason: String,
    },
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When; of growth, when it began.
    pub at: Timestamp,
    /// When it was last seen to go on.
    pub until: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// The last events of one plugin.
#[derive(Debug, Default)]
pub struct Journal {
    events: Mutex<VecDeque<Event>>,
}

impl Journal {
    /// Writes an event down.
    pub(crate) fn note(&self, kind: EventKind) {
        self.note_at(Timestamp::now(), kind);
    }

    fn note_at(&self, at: Timestamp, kind: EventKind) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(last), EventKind::Grown { to: now, .. }) = (events.back_mut(), &kind)
            && let EventKind::Grown { to, .. } = &mut last.kind
            && at.instant.saturating_duration_since(last.until.instant) < SAME_GROWTH
        {
            *to = *now;
            last.until = at;
            return;
        }
        if events.len() == KEPT {
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

    fn later(start: Timestamp, seconds: u64) -> Timestamp {
        Timestamp {
            instant: start.instant + Duration::from_secs(seconds),
            unix_seconds: start.unix_seconds + seconds as f64,
        }
    }

    #[test]
    fn steps_of_growth_that_follow_each_other_are_one_event() {
        let (journal, start) = (Journal::default(), Timestamp::now());
        let grown = |from, to| EventKind::Grown { from, to };
        journal.note_at(start, grown(1, 2));
        journal.note_at(later(start, 15), grown(2, 3));
        journal.note_at(later(start, 30), grown(3, 4));
        journal.note_at(later(start, 31), EventKind::Disabled);
        journal.note_at(later(start, 32), grown(4, 5));
        journal.note_at(later(start, 60), grown(5, 6));
        let kinds: Vec<_> = journal.events().into_iter().map(|e| e.kind).collect();
        let expected = [grown(1, 4), EventKind::Disabled, grown(4, 5), grown(5, 6)];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_journal_keeps_the_last() {
        let journal = Journal::default();
        for objects in 0..100 {
            journal.note(EventKind::Cleared { objects, bytes: 0 });
        }
        let events = journal.events();
        assert_eq!(events.len(), KEPT);
        let last = EventKind::Cleared {
            objects: 99,
            bytes: 0,
        };
        assert_eq!(events.last().map(|e| &e.kind), Some(&last));
    }
}
