//! At most one warning a minute about failed exports and lost telemetry.
//!
//! All signals share the limit. The service cannot fix an absent collector, and its log has other
//! uses. A warning counts everything that failed since the previous one.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The minimum time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct OutageLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_warning: Option<Instant>,
    unreported: Failures,
}

/// Failures since the last warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Failures {
    exports: u64,
    /// Lost spans, data points and profiles.
    lost: u64,
}

impl OutageLog {
    /// Records a failed export, whose request may be retried.
    pub(crate) fn export_failed(&self, collector: &impl Display, error: &impl Display) {
        if let Some(Failures { exports, lost }) = self.record(Instant::now(), 1, 0) {
            tracing::warn!(%collector, %error, failed_exports = exports, lost, "telemetry does not reach the collector");
        }
    }

    /// Records spans, data points or profiles that are lost: the queue was full, or the collector
    /// rejected them.
    pub(crate) fn lost(&self, collector: &impl Display, count: u64) {
        if count == 0 {
            return;
        }
        if let Some(Failures { exports, lost }) = self.record(Instant::now(), 0, count) {
            tracing::warn!(%collector, failed_exports = exports, lost, "telemetry was lost: the collector is too slow or rejects it");
        }
    }

    /// Adds to the unreported failures, and returns them when a warning is due.
    fn record(&self, now: Instant, exports: u64, lost: u64) -> Option<Failures> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.unreported.exports += exports;
        state.unreported.lost += lost;
        let since_warning = state
            .last_warning
            .map(|last| now.saturating_duration_since(last));
        if since_warning.is_some_and(|elapsed| elapsed < WARNING_INTERVAL) {
            return None;
        }
        state.last_warning = Some(now);
        Some(std::mem::take(&mut state.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_a_minute_counts_all_failures_since_the_last() {
        let log = OutageLog::default();
        let start = Instant::now();
        let record = |seconds, exports, lost| {
            log.record(start + Duration::from_secs(seconds), exports, lost)
        };
        let failures = |exports, lost| Some(Failures { exports, lost });
        assert_eq!(record(0, 1, 0), failures(1, 0));
        for second in 1..60 {
            assert_eq!(record(second, 1, 10), None, "after {second} s");
        }
        assert_eq!(record(60, 0, 5), failures(59, 595));
        assert_eq!(record(61, 1, 0), None);
        assert_eq!(record(200, 1, 0), failures(2, 0));
    }
}
