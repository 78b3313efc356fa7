//! One voice for everything that goes wrong on the way to the collector.
//!
//! A collector that is away is nothing the service can help, and its log belongs to the service: both
//! signals together write at most one warning a minute, with the numbers of what was lost since the
//! last.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// What has gone wrong since the last warning.
#[derive(Debug, Default)]
pub(crate) struct OutageLog {
    since: Mutex<Since>,
}

#[derive(Debug, Default)]
struct Since {
    last_warning: Option<Instant>,
    failed_exports: u64,
    lost: u64,
}

/// What a warning says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Summary {
    failed_exports: u64,
    lost: u64,
}

impl OutageLog {
    /// An export failed.
    pub(crate) fn export_failed(&self, collector: &impl fmt::Display, error: &impl fmt::Display) {
        if let Some(Summary {
            failed_exports,
            lost,
        }) = self.note(Instant::now(), 1, 0)
        {
            tracing::warn!(%collector, %error, failed_exports, lost, "telemetry does not reach the collector");
        }
    }

    /// Spans or data points were given up: the queue was full, or the collector refused them.
    pub(crate) fn lost(&self, collector: &impl fmt::Display, count: u64) {
        if count == 0 {
            return;
        }
        if let Some(Summary {
            failed_exports,
            lost,
        }) = self.note(Instant::now(), 0, count)
        {
            tracing::warn!(%collector, failed_exports, lost, "telemetry was lost: the collector is too slow or refuses it");
        }
    }

    /// Adds up, and answers what to say when it is time to say something.
    fn note(&self, now: Instant, failed_exports: u64, lost: u64) -> Option<Summary> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.failed_exports += failed_exports;
        since.lost += lost;
        if since
            .last_warning
            .is_some_and(|last| now.saturating_duration_since(last) < WARNING_INTERVAL)
        {
            return None;
        }
        since.last_warning = Some(now);
        Some(Summary {
            failed_exports: std::mem::take(&mut since.failed_exports),
            lost: std::mem::take(&mut since.lost),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_a_minute_with_everything_since_the_last() {
        let log = OutageLog::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            log.note(at(0), 1, 0),
            Some(Summary {
                failed_exports: 1,
                lost: 0
            })
        );
        for second in 1..60 {
            assert_eq!(log.note(at(second), 1, 10), None, "after {second} s");
        }
        assert_eq!(
            log.note(at(60), 0, 5),
            Some(Summary {
                failed_exports: 59,
                lost: 595
            })
        );
        assert_eq!(log.note(at(61), 1, 0), None);
        assert_eq!(
            log.note(at(200), 1, 0),
            Some(Summary {
                failed_exports: 2,
                lost: 0
            })
        );
    }
}
