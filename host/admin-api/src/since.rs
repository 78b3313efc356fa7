//! The window of `?since=`. What was cleared within it would look as if the leak had shrunk, so a
//! window begins after the last clear. A fresh instance begins with an empty heap at once, and no
//! reading separates it from the growth after it, so a window that spans a reset only says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::{EventKind, RestartReason};

/// The history has a reading each second, and the last one may be of the second before. So the
/// first reading after a clear is at most 2 seconds later.
const READING_DELAY: Duration = Duration::from_secs(2);

/// The window that a comparison covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Since {
    /// How long ago it begins.
    pub(crate) ago: Duration,
    /// That it is shorter than asked for, or that it spans a reset.
    pub(crate) note: Option<String>,
}

/// An event that freed what a plugin retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freeing {
    Cleared,
    Restarted,
}

impl Since {
    /// The window of these plugins over the last `asked`.
    pub(crate) fn of(plugins: &[Arc<Plugin>], asked: Duration) -> Self {
        let now = Instant::now();
        let events = plugins.iter().flat_map(|plugin| {
            let events = plugin.journal().events().into_iter();
            events.filter_map(|event| {
                let age = now.saturating_duration_since(event.at.instant);
                Some((freeing(&event.kind)?, age, plugin.id()))
            })
        });
        Self::spanning(asked, &events.collect::<Vec<_>>())
    }

    /// `events` have their age and the plugin's id, in any order.
    fn spanning(asked: Duration, events: &[(Freeing, Duration, &str)]) -> Self {
        let last = |kind: Freeing, within: Duration| {
            let events = events.iter().filter(|(of, ..)| *of == kind);
            let within = events.filter(|(_, age, _)| *age < within);
            within.min_by_key(|(_, age, _)| *age)
        };
        let (ago, cleared) = match last(Freeing::Cleared, asked) {
            // The reading before a clear still has what was freed.
            Some((_, age, plugin)) => (age.saturating_sub(READING_DELAY), Some(plugin)),
            None => (asked, None),
        };
        let begins = cleared.map(|plugin| {
            let (ago, asked) = (ago.as_secs(), asked.as_secs());
            format!("begins {ago} s ago instead of {asked} s, after {plugin} was cleared")
        });
        let spans = last(Freeing::Restarted, ago).map(|(_, age, plugin)| {
            let age = age.as_secs();
            format!("spans a restart of {plugin} {age} s ago: what it held before has shrunk")
        });
        let notes: Vec<String> = begins.into_iter().chain(spans).collect();
        Since {
            ago,
            note: (!notes.is_empty()).then(|| notes.join("; it ")),
        }
    }
}

/// How an event freed what the plugin retained, if it did.
fn freeing(kind: &EventKind) -> Option<Freeing> {
    match kind {
        EventKind::Cleared { objects, .. } if *objects > 0 => Some(Freeing::Cleared),
        EventKind::Restarted { why, .. } => match why {
            RestartReason::Reset | RestartReason::Reloaded => Some(Freeing::Restarted),
            // It retained nothing.
            RestartReason::Collected => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEARED: Freeing = Freeing::Cleared;
    const RESTARTED: Freeing = Freeing::Restarted;

    fn window(events: &[(Freeing, u64)]) -> (u64, String) {
        let seconds = Duration::from_secs;
        let events: Vec<_> = events
            .iter()
            .map(|(kind, age)| (*kind, seconds(*age), "cache"))
            .collect();
        let since = Since::spanning(seconds(300), &events);
        (since.ago.as_secs(), since.note.unwrap_or_default())
    }

    #[test]
    fn a_window_begins_after_the_last_clear_in_it() {
        let note = "begins 40 s ago instead of 300 s, after cache was cleared";
        for events in [
            vec![(CLEARED, 42)],
            vec![(CLEARED, 90), (CLEARED, 42), (RESTARTED, 50)],
        ] {
            assert_eq!(window(&events), (40, note.to_owned()));
        }
        assert_eq!(window(&[(CLEARED, 300)]), (300, String::new()));
        assert_eq!(window(&[(CLEARED, 0)]).0, 0);
    }

    #[test]
    fn a_window_says_that_it_spans_a_restart() {
        let note = "spans a restart of cache 7 s ago: what it held before has shrunk";
        assert_eq!(window(&[(RESTARTED, 7)]), (300, note.to_owned()));
        let (ago, both) = window(&[(CLEARED, 42), (RESTARTED, 7)]);
        assert_eq!(ago, 40);
        assert!(
            both.starts_with("begins 40 s ago") && both.ends_with(note),
            "{both}"
        );
        assert_eq!(window(&[(RESTARTED, 300)]), (300, String::new()));
    }
}
