//! The target mode, `target_mb` in `target_minutes`: a pattern retains so much by then, whatever the rate of
//! requests.
//!
//! It needs nothing of the plugin but what every plugin has: it says what it retains, and `payload_bytes` can be
//! set. Before each request the host looks how far behind a straight line the pattern is, and lets it retain as
//! much, or lets the request pass. What is retained is measured anew each time, so a pattern that retains more or
//! less than it was told stays on the line too.

use std::time::{Duration, Instant};

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Retained bytes at the end.
    pub bytes: u64,
    /// Time from the first request to the end.
    pub within: Duration,
}

/// What is to become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The plugin handles it as it is set.
    AsSet,
    /// It passes: the pattern is not behind the line.
    Skip,
    /// The plugin is told to retain so many bytes, and handles it.
    Retain(u64),
}

/// Where a plugin is on its way to a target.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The first request of the way, and what was retained then.
    begun: Option<(Instant, u64)>,
    /// Whether the guest was told another payload than its setting says.
    told: bool,
}

impl Course {
    /// Begins anew with the next request. The guest still has the payload that it was told last.
    pub(crate) fn begin_anew(&mut self) {
        self.begun = None;
    }

    /// What is to become of a request, with `payload` as the setting has it and `retained` as it is. Without a
    /// target, the first request tells the guest its setting again.
    pub(crate) fn step(
        &mut self,
        target: Option<Target>,
        payload: u64,
        retained: u64,
        now: Instant,
    ) -> Step {
        let Some(target) = target else {
            self.begun = None;
            return if std::mem::take(&mut self.told) {
                Step::Retain(payload)
            } else {
                Step::AsSet
            };
        };
        let (begun, from) = *self.begun.get_or_insert((now, retained));
        let part = (now.duration_since(begun).as_secs_f64() / target.within.as_secs_f64()).min(1.0);
        let line = from as f64 + (target.bytes as f64 - from as f64) * part;
        // A float below zero becomes zero: it is ahead of the line.
        let behind = (line - retained as f64) as u64;
        // Less than one payload would be many small objects, which weigh more than their payload.
        if behind < payload.max(1) {
            return Step::Skip;
        }
        self.told = true;
        Step::Retain(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const PAYLOAD: u64 = 5120;

    fn target() -> Option<Target> {
        Some(Target {
            bytes: 60 * MIB,
            within: Duration::from_secs(60),
        })
    }

    /// Retained bytes after requests that come at a rate for so long, where a request retains what it is told and
    /// `overhead` bytes.
    fn follow(per_second: f64, seconds: f64, overhead: u64) -> u64 {
        let (mut course, start, mut retained) = (Course::default(), Instant::now(), 0);
        for n in 0..=(per_second * seconds) as u64 {
            let now = start + Duration::from_secs_f64(n as f64 / per_second);
            match course.step(target(), PAYLOAD, retained, now) {
                Step::Retain(bytes) => retained += bytes.min(16 * MIB) + overhead,
                Step::Skip => {}
                Step::AsSet => panic!("there is a target"),
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
    fn the_line_begins_at_what_is_retained_already() {
        let (mut course, start) = (Course::default(), Instant::now());
        let mut step = |retained, seconds| {
            course.step(
                target(),
                PAYLOAD,
                retained,
                start + Duration::from_secs(seconds),
            )
        };
        assert_eq!(step(30 * MIB, 0), Step::Skip);
        assert_eq!(step(30 * MIB, 30), Step::Retain(15 * MIB));
        assert_eq!(step(70 * MIB, 30), Step::Skip, "it is over the line");
    }

    #[test]
    fn a_cleared_pattern_begins_a_line_of_its_own() {
        let (mut course, start) = (Course::default(), Instant::now());
        let half = start + Duration::from_secs(30);
        course.step(target(), PAYLOAD, 0, start);
        course.begin_anew();
        assert_eq!(course.step(target(), PAYLOAD, 0, half), Step::Skip);
        let later = half + Duration::from_secs(6);
        assert_eq!(
            course.step(target(), PAYLOAD, 0, later),
            Step::Retain(6 * MIB)
        );
    }

    #[test]
    fn without_a_target_the_guest_gets_its_own_payload_back_once() {
        let (mut course, start) = (Course::default(), Instant::now());
        assert_eq!(course.step(None, PAYLOAD, 0, start), Step::AsSet);
        course.step(target(), PAYLOAD, 0, start);
        let later = start + Duration::from_secs(6);
        course.step(target(), PAYLOAD, 0, later);
        assert_eq!(course.step(None, PAYLOAD, 0, later), Step::Retain(PAYLOAD));
        assert_eq!(course.step(None, PAYLOAD, 0, later), Step::AsSet);
    }
}
