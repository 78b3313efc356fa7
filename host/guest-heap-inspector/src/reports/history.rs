//! Live bytes by line over time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::inspector::{GuestHeap, Inspector};

/// The most points of one series: a chart cannot show more.
const MAX_POINTS: usize = 300;

/// The answer of `history`.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryReport {
    /// The time that the history covers.
    pub(crate) window_seconds: f64,
    /// The longest time between two readings.
    pub(crate) resolution_seconds: f64,
    /// For each guest, the lines that grew most and the sum of the others.
    pub(crate) series: Vec<SeriesRow>,
}

/// Live bytes of one line over time.
#[derive(Debug, Serialize)]
pub(crate) struct SeriesRow {
    pub(crate) guest: String,
    /// The source line; `other` for the sum of all lines without a series of their own.
    pub(crate) location: String,
    /// Pairs of seconds since 1970-01-01T00:00:00Z and live bytes.
    pub(crate) points: Vec<(f64, u64)>,
}

impl HistoryReport {
    pub(crate) fn of(inspector: &Inspector, heaps: &[Arc<GuestHeap>], limit: usize) -> Self {
        let unix_seconds = Timestamp::now().as_millisecond() as f64 / 1e3;
        let (mut covered, mut resolution) = (Duration::ZERO, Duration::ZERO);
        let mut series = Vec::new();
        for heap in heaps {
            let kept = inspector.history(&heap.guest);
            let unix = |at| unix_seconds - kept.now.saturating_sub(at).as_secs_f64();
            let history = kept.lock();
            covered = covered.max(history.covered());
            resolution = resolution.max(history.resolution());
            let of_guest = history.series(limit, MAX_POINTS);
            series.extend(of_guest.into_iter().map(|line| {
                SeriesRow {
                    guest: heap.guest.clone(),
                    location: line.site.location.to_string(),
                    points: line
                        .points
                        .into_iter()
                        .map(|(at, bytes)| (unix(at), bytes))
                        .collect(),
                }
            }));
        }
        HistoryReport {
            window_seconds: covered.as_secs_f64(),
            resolution_seconds: resolution.as_secs_f64(),
            series,
        }
    }
}
