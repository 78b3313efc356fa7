//! The time window of a history, and the series of one line.

use std::sync::Arc;
use std::time::Duration;

use crate::symbols::Site;

/// How far back a history reaches: 15 minutes.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Location of the entry that holds all lines without an entry of their own.
pub const OTHER: &str = "other";

/// Live bytes of one line over time.
#[derive(Debug, Clone)]
pub struct Series {
    /// The line; [`OTHER`] for all lines without a series of their own.
    pub site: Arc<Site>,
    /// Time on the clock of [`History::push`](crate::history::History::push), and live bytes.
    pub points: Vec<(Duration, u64)>,
}

/// The site with the location [`OTHER`].
pub(super) fn other_site() -> Arc<Site> {
    let other: Arc<str> = Arc::from(OTHER);
    Arc::new(Site {
        location: Arc::clone(&other),
        function: other,
        file: None,
        line: None,
    })
}
