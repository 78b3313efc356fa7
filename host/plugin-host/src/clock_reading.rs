//! One point in time on the monotonic clock and on the wall clock.
//!
//! Code measures durations on the monotonic clock, so a change of the machine's clock neither
//! empties nor stretches a window. The wall clock is for people and charts.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockReading {
    /// For durations.
    pub instant: Instant,
    /// For display: seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: f64,
}

impl ClockReading {
    /// The current time on both clocks.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            instant: Instant::now(),
            unix_seconds: since_epoch.as_secs_f64(),
        }
    }
}
