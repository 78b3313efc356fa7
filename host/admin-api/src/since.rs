//! The window of `?since=`. What was cleared or reset within it would look as if the leak had
//! shrunk, so a window begins after the last such event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::{EventKind, RestartReason};

/// The history has a reading each second, and the last one may be of the second before. So the
/// first reading after an event is at most 2 seconds later.
const READING_DELAY: Duration = Duration::from_secs(2);

/// The window that a comparison covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Since {
    /// How long ago it begins.
    pub(crate) ago: Duration,
    /// Why it is shorter than asked for.
    pub(crate) note: Option<String>,
}

impl Since {
    /// The window of these plugins over the last `asked`.
    pub(crate) fn of(plugins: &[Arc<Plugin>], asked: Duration) -> Self {
        let now = Instant::now();
        let events = plugins.iter().flat_map(|plugin| {
            let events = plugin.journal().events().into_iter();
            events.filter_map(|event| {
                let verb = freeing(&event.kind)?;
                let age = now.saturating_duration_since(event.at.instant);
                Some((age, plugin.id(), verb))
            })
        });
        Self::after(asked, events.min_by_key(|(age, ..)| *age))
    }

    fn after(asked: Duration, last: Option<(Duration, &str, &str)>) -> Self {
        let whole = Since {
            ago: asked,
            note: None,
        };
        let Some((age, plugin, verb)) = last.filter(|(age, ..)| *age < asked) else {
            return whole;
        };
        // The reading before the event still has what was freed.
        let ago = age.saturating_sub(READING_DELAY);
        Since {
            ago,
            note: Some(format!(
                "begins {} s ago instead of {} s, after {plugin} was {verb}",
                ago.as_secs(),
                asked.as_secs()
            )),
        }
    }
}

/// What an event did to the plugin, if it freed what the plugin retained.
fn freeing(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::Cleared { objects, .. } if *objects > 0 => Some("cleared"),
        EventKind::Restarted { why, .. } => match why {
            RestartReason::Reset => Some("reset"),
            RestartReason::Reloaded => Some("loaded again"),
            // It retained nothing.
            RestartReason::Collected => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_after_the_last_clear_in_it() {
        let seconds = Duration::from_secs;
        let since = Since::after(seconds(300), Some((seconds(42), "cache", "cleared")));
        assert_eq!(since.ago, seconds(40));
        let note = "begins 40 s ago instead of 300 s, after cache was cleared";
        assert_eq!(since.note.as_deref(), Some(note));
        for last in [None, Some((seconds(300), "cache", "reset"))] {
            let since = Since::after(seconds(300), last);
            assert_eq!((since.ago, since.note), (seconds(300), None));
        }
        let just_now = Since::after(seconds(60), Some((seconds(0), "cache", "reset")));
        assert_eq!(just_now.ago, Duration::ZERO);
    }
}
