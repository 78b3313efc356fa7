//! The options of an inspector.

use std::path::PathBuf;
use std::time::Duration;

/// How an inspector reads, and what bounds it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The heading of the page; `Guest heaps` by default.
    pub title: String,
    /// The time between two readings of the history, 1 s by default.
    pub history_interval: Duration,
    /// A reading this young answers a query, so that many queries cost one reading. 250 ms by
    /// default.
    pub max_reading_age: Duration,
    /// A guest that cannot be read within this time counts as busy. 5 s by default.
    pub reading_timeout: Duration,
    /// Guests that are read at a time, 4 by default.
    pub max_concurrent_readings: usize,
    /// Guests with a history, 64 by default. The others are still read when a query names them.
    pub max_guests: usize,
    /// Folders with the sources of the guests. The source view reads only files below them, and
    /// only if a call stack in the guest's heap names the line. Empty by default: no source view.
    pub source_roots: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            title: "Guest heaps".to_owned(),
            history_interval: Duration::from_secs(1),
            max_reading_age: Duration::from_millis(250),
            reading_timeout: Duration::from_secs(5),
            max_concurrent_readings: 4,
            max_guests: 64,
            source_roots: Vec::new(),
        }
    }
}
