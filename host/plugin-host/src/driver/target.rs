//! The target mode: a pattern retains `target_mb` after `target_minutes`, at any request rate.
//!
//! It needs only what every plugin has: the report of what it retains, and the setting
//! `payload_bytes`. Before each request the host computes how many bytes the pattern is behind a
//! straight line. It lets the pattern retain that many, or skips the request. The host reads what
//! is retained before each request, so a pattern that retains more or less than requested stays on
//! the line too.

use std::time::Instant;

use crate::settings::Target;

/// What the host does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetStep {
    /// The plugin handles it with the payload that it was configured with last.
    AsConfigured,
    /// The plugin does not get it: the pattern is not behind the line.
    Skip,
    /// The plugin is configured to retain this many bytes, and handles it.
    Retain(u64),
}

/// Follows one plugin on its way to a target.
#[derive(Debug, Default)]
pub(crate) struct TargetTracker {
    /// The start of the line: the first request, and the bytes retained then.
    start: Option<(Instant, u64)>,
    /// Whether the guest's payload differs from its setting.
    payload_overridden: bool,
}

impl TargetTracker {
    /// Starts a new line at the next request. The guest keeps the payload that it was configured
    /// with last.
    pub(crate) fn restart(&mut self) {
        self.start = None;
    }

    /// Decides about a request. `payload` is the value of the setting and `retained` the current
    /// reading, both in bytes. Without a target, the first request restores the guest's payload.
    pub(crate) fn step(
        &mut self,
        target: Option<Target>,
        payload: u64,
        retained: u64,
        now: Instant,
    ) -> TargetStep {
        let Some(target) = target else {
            self.start = None;
            return if std::mem::take(&mut self.payload_overridden) {
                TargetStep::Retain(payload)
            } else {
                TargetStep::AsConfigured
            };
        };
        let (start, from) = *self.start.get_or_insert((now, retained));
        let elapsed = now.duration_since(start).as_secs_f64();
        let share = (elapsed / target.within.as_secs_f64()).min(1.0);
        let line = from as f64 + (target.bytes as f64 - from as f64) * share;
        // The cast turns a negative number into zero: the pattern is ahead of the line.
        let behind = (line - retained as f64) as u64;
        // Less than one payload would make many small objects, which take more memory than their
        // payloads.
        if behind < payload.max(1) {
            return TargetStep::Skip;
        }
        self.payload_overridden = true;
        TargetStep::Retain(behind)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: u64 = 1 << 20;
    const PAYLOAD: u64 = 5120;

    fn target() -> Option<Target> {
        Some(Target {
            bytes: 60 * MIB,
            within: Duration::from_secs(60),
        })
    }

    /// Retained bytes after `seconds` of requests, where each request retains what the tracker says
    /// plus `overhead` bytes.
    fn follow(per_second: f64, seconds: f64, overhead: u64) -> u64 {
        let (mut tracker, start, mut retained) = (TargetTracker::default(), Instant::now(), 0);
        for n in 0..=(per_second * seconds) as u64 {
            let now = start + Duration::from_secs_f64(n as f64 / per_second);
            match tracker.step(target(), PAYLOAD, retained, now) {
                TargetStep::Retain(bytes) => retained += bytes.min(16 * MIB) + overhead,
                TargetStep::Skip => {}
                TargetStep::AsConfigured => panic!("there is a target"),
            }
        }
        retained
    }

    #[test]
    fn the_target_is_reached_in_time_at_any_rate() {
        for per_second in [0.2, 1.0, 50.0, 5000.0] {
            for overhead in [0, 200] {
                let half = follow(per_second, 30.0, overhead) as f64 / MIB as f64;
                assert!((half - 30.0).abs() < 0.1, "{per_second}: {half}");
                let end = follow(per_second, 60.0, overhead) as f64 / MIB as f64;
                assert!((end - 60.0).abs() < 0.1, "{per_second}: {end}");
                let later = follow(per_second, 120.0, overhead) as f64 / MIB as f64;
                assert!((later - 60.0).abs() < 0.1, "it stays there: {later}");
            }
        }
    }

    #[test]
    fn the_line_starts_at_what_is_already_retained() {
        let (mut tracker, start) = (TargetTracker::default(), Instant::now());
        let mut step = |retained, seconds| {
            tracker.step(
                target(),
                PAYLOAD,
                retained,
                start + Duration::from_secs(seconds),
            )
        };
        assert_eq!(step(30 * MIB, 0), TargetStep::Skip);
        assert_eq!(step(30 * MIB, 30), TargetStep::Retain(15 * MIB));
        assert_eq!(
            step(70 * MIB, 30),
            TargetStep::Skip,
            "it is ahead of the line"
        );
    }

    #[test]
    fn a_clear_starts_a_new_line() {
        let (mut tracker, start) = (TargetTracker::default(), Instant::now());
        let half = start + Duration::from_secs(30);
        tracker.step(target(), PAYLOAD, 0, start);
        tracker.restart();
        assert_eq!(tracker.step(target(), PAYLOAD, 0, half), TargetStep::Skip);
        let later = half + Duration::from_secs(6);
        assert_eq!(
            tracker.step(target(), PAYLOAD, 0, later),
            TargetStep::Retain(6 * MIB)
        );
    }

    #[test]
    fn without_a_target_the_guest_gets_its_configured_payload_back_once() {
        let (mut tracker, start) = (TargetTracker::default(), Instant::now());
        assert_eq!(
            tracker.step(None, PAYLOAD, 0, start),
            TargetStep::AsConfigured
        );
        tracker.step(target(), PAYLOAD, 0, start);
        let later = start + Duration::from_secs(6);
        tracker.step(target(), PAYLOAD, 0, later);
        assert_eq!(
            tracker.step(None, PAYLOAD, 0, later),
            TargetStep::Retain(PAYLOAD)
        );
        assert_eq!(
            tracker.step(None, PAYLOAD, 0, later),
            TargetStep::AsConfigured
        );
    }
}
