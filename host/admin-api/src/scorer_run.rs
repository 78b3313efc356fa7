//! What the live scorer has recorded: when alerts fired, and the truth about a mystery that ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ground_truth::score::Firing;
use ground_truth::truth::Truth;
use jiff::Timestamp;

use crate::alert_store::Alert;

/// The most firings that are kept. The oldest go first.
const MAX_FIRINGS: usize = 10_000;

/// The recorded firings, and what is known of plugins that are gone.
#[derive(Debug)]
pub(crate) struct LiveScorer(Mutex<Recorded>);

/// A firing is known by the start and the fingerprint of its alert: one that fires again has
/// another start.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// When the recording began.
    pub(crate) since: Timestamp,
    firings: BTreeMap<(u64, String), Firing>,
    /// The truth about the plugins of mysteries that have ended.
    pub(crate) past: Vec<Truth>,
}

impl Recorded {
    fn empty() -> Self {
        Recorded {
            since: Timestamp::now(),
            firings: BTreeMap::new(),
            past: Vec::new(),
        }
    }

    /// When alerts fired, the oldest first. Times are seconds since 1970.
    pub(crate) fn firings(&self) -> Vec<Firing> {
        self.firings.values().cloned().collect()
    }
}

impl Default for LiveScorer {
    fn default() -> Self {
        LiveScorer(Mutex::new(Recorded::empty()))
    }
}

impl LiveScorer {
    /// Records the alerts of a notification. Returns the number of firings that are known.
    pub(crate) fn record(&self, alerts: &[Alert]) -> usize {
        let mut recorded = self.lock();
        for alert in alerts {
            let from = seconds(alert.starts_at);
            let firing = Firing {
                labels: alert.labels.clone(),
                from,
                resolved: alert.ends_at.map(seconds),
            };
            let key = (from, alert.fingerprint.clone());
            recorded.firings.insert(key, firing);
        }
        while recorded.firings.len() > MAX_FIRINGS {
            recorded.firings.pop_first();
        }
        recorded.firings.len()
    }

    /// Keeps the truth about plugins that are gone.
    pub(crate) fn add_past(&self, truths: Vec<Truth>) {
        self.lock().past.extend(truths);
    }

    /// Forgets everything, and begins to record.
    pub(crate) fn restart(&self) {
        *self.lock() = Recorded::empty();
    }

    /// What was recorded so far.
    pub(crate) fn recorded(&self) -> Recorded {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970; 0 before that.
pub(crate) fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(fingerprint: &str, start: i64, end: Option<i64>) -> Alert {
        let at = |second| Timestamp::from_second(second).unwrap();
        Alert {
            fingerprint: fingerprint.to_owned(),
            is_firing: end.is_none(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            starts_at: at(start),
            ends_at: end.map(at),
        }
    }

    #[test]
    fn an_alert_that_fires_again_is_another_firing() {
        let scorer = LiveScorer::default();
        scorer.record(&[alert("a", 100, None), alert("b", 100, None)]);
        scorer.record(&[alert("a", 100, Some(150))]);
        scorer.record(&[alert("a", 200, None)]);
        let firings = scorer.recorded().firings();
        let times: Vec<_> = firings.iter().map(|f| (f.from, f.resolved)).collect();
        assert_eq!(times, [(100, Some(150)), (100, None), (200, None)]);
        scorer.restart();
        assert!(scorer.recorded().firings().is_empty());
    }

    #[test]
    fn the_oldest_firings_go_first() {
        let scorer = LiveScorer::default();
        let alerts: Vec<_> = (1..=10_010).map(|start| alert("a", start, None)).collect();
        assert_eq!(scorer.record(&alerts), MAX_FIRINGS);
        assert_eq!(scorer.recorded().firings().first().unwrap().from, 11);
    }
}
