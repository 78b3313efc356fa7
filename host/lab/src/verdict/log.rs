//! Prints the verdict when it changes.

use std::time::{Duration, Instant};

use super::{LabVerdict, Severity, VerdictKind};

/// The shortest time between two lines.
const MIN_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A verdict is printed when it has lasted for this many samples.
const MIN_SAMPLES: u32 = 2;

/// The same for a leak whose time to the limit is not known yet.
const MIN_SAMPLES_WITHOUT_TIME: u32 = 10;

/// The part of a verdict that is worth a line when it changes. Numbers change every second.
type Subject = (VerdictKind, Severity, Option<String>);

/// What was printed last.
#[derive(Debug, Default)]
pub(super) struct VerdictLog {
    printed: Subject,
    at: Option<Instant>,
    /// The subject of the verdict before, and for how many samples it has lasted.
    before: Subject,
    lasted: u32,
}

impl VerdictLog {
    /// Prints a verdict that differs from the one printed last.
    pub(super) fn report(&mut self, verdict: &LabVerdict) {
        if !self.is_due(verdict, Instant::now()) {
            return;
        }
        match verdict.severity {
            Severity::Calm => tracing::info!("verdict: {}", verdict.sentence),
            Severity::Leak | Severity::Critical => tracing::warn!("verdict: {}", verdict.sentence),
        }
    }

    fn is_due(&mut self, verdict: &LabVerdict, now: Instant) -> bool {
        let subject = (verdict.kind, verdict.severity, verdict.plugin.clone());
        let is_same = std::mem::replace(&mut self.before, subject.clone()) == subject;
        self.lasted = if is_same { self.lasted + 1 } else { 1 };
        let has_time = !verdict.is_leak()
            || verdict.seconds_to_limit.is_some()
            || verdict.requests_per_second <= 0.0;
        let min_samples = if has_time {
            MIN_SAMPLES
        } else {
            MIN_SAMPLES_WITHOUT_TIME
        };
        let is_early = self
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < MIN_LOG_INTERVAL);
        if self.lasted < min_samples || is_early || subject == self.printed {
            return false;
        }
        self.printed = subject;
        self.at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(plugin: &str, severity: Severity) -> LabVerdict {
        LabVerdict {
            kind: VerdictKind::GuestLeak,
            severity,
            plugin: Some(plugin.to_owned()),
            seconds_to_limit: Some(60.0),
            ..LabVerdict::default()
        }
    }

    #[test]
    fn a_verdict_is_printed_once_when_it_lasts() {
        let mut log = VerdictLog::default();
        let start = Instant::now();
        let mut due = |verdict: &LabVerdict, second: u64| {
            log.is_due(verdict, start + Duration::from_secs(second))
        };
        let calm = LabVerdict::default();
        assert!(!due(&calm, 0) && !due(&calm, 1), "calm from the start");
        assert!(!due(&leak("cache", Severity::Leak), 2));
        assert!(due(&leak("cache", Severity::Leak), 3));
        assert!(!due(&leak("cache", Severity::Leak), 4));
        let critical = leak("cache", Severity::Critical);
        let printed: Vec<u64> = (5..30).filter(|second| due(&critical, *second)).collect();
        assert_eq!(printed, [13], "ten seconds after the line before");
        assert!(!due(&calm, 30));
        assert!(due(&calm, 31));
    }

    #[test]
    fn a_leak_is_printed_with_its_time_if_that_comes_soon() {
        let start = Instant::now();
        let printed = |time_at: u64| {
            let mut log = VerdictLog::default();
            let mut due = |second: u64| {
                let verdict = LabVerdict {
                    seconds_to_limit: (second >= time_at).then_some(900.0),
                    requests_per_second: 40.0,
                    ..leak("cache", Severity::Leak)
                };
                log.is_due(&verdict, start + Duration::from_secs(second))
            };
            (0..30).find(|second| due(*second))
        };
        assert_eq!(printed(4), Some(4));
        assert_eq!(printed(100), Some(9));
    }
}
