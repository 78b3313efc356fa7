//! The schedule of a leak: when it is on, counted from the moment at which it was enabled.

use std::time::Duration;

/// When an enabled leak is on. Without a duration it stays on, and without a repetition it is on
/// once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Time from enabling the leak until it is on.
    pub(crate) start_after: Duration,
    /// How long it is on. `None` means until it is disabled.
    pub(crate) duration: Option<Duration>,
    /// Time from one start to the next. It is longer than `duration`.
    pub(crate) repeat: Option<Duration>,
}

/// What a schedule says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase {
    /// Whether the leak is on.
    pub(crate) active: bool,
    /// Time from enabling the leak to the next change; `None` if there is none.
    pub(crate) ends_at: Option<Duration>,
}

impl Schedule {
    /// A schedule of these parts, which have been checked. `None` if the leak is always on.
    pub(crate) fn of(
        start_after: Option<Duration>,
        duration: Option<Duration>,
        repeat: Option<Duration>,
    ) -> Option<Self> {
        let schedule = Schedule {
            start_after: start_after.unwrap_or_default(),
            duration,
            // A shorter repetition would have no end of a phase.
            repeat: repeat.filter(|repeat| duration.is_some_and(|duration| *repeat > duration)),
        };
        (!schedule.start_after.is_zero() || duration.is_some()).then_some(schedule)
    }

    /// The phase at a time after the leak was enabled.
    pub(crate) fn phase(&self, elapsed: Duration) -> Phase {
        let phase = |active, ends_at| Phase { active, ends_at };
        let Some(since_start) = elapsed.checked_sub(self.start_after) else {
            return phase(false, Some(self.start_after));
        };
        let Some(duration) = self.duration else {
            return phase(true, None);
        };
        let Some(repeat) = self.repeat else {
            let end = self.start_after.checked_add(duration);
            let active = since_start < duration;
            return phase(active, end.filter(|_| active));
        };
        let within = since_start.as_nanos() % repeat.as_nanos();
        let within = Duration::from_nanos_u128(within);
        // The start of this repetition, counted from enabling the leak.
        let start = elapsed.saturating_sub(within);
        if within < duration {
            phase(true, start.checked_add(duration))
        } else {
            phase(false, start.checked_add(repeat))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn schedule(start_after: u64, duration: Option<u64>, repeat: Option<u64>) -> Schedule {
        Schedule::of(Some(MS(start_after)), duration.map(MS), repeat.map(MS)).unwrap()
    }

    /// The phase as milliseconds.
    fn phase(schedule: Schedule, elapsed: u64) -> (bool, Option<u128>) {
        let phase = schedule.phase(MS(elapsed));
        (phase.active, phase.ends_at.map(|end| end.as_millis()))
    }

    #[test]
    fn a_leak_without_a_start_and_a_duration_has_no_schedule() {
        assert_eq!(Schedule::of(None, None, None), None);
        assert_eq!(Schedule::of(Some(Duration::ZERO), None, None), None);
        assert!(Schedule::of(None, Some(MS(1)), None).is_some());
    }

    #[test]
    fn a_leak_that_starts_later_stays_on() {
        let schedule = schedule(500, None, None);
        assert_eq!(phase(schedule, 0), (false, Some(500)));
        assert_eq!(phase(schedule, 499), (false, Some(500)));
        assert_eq!(phase(schedule, 500), (true, None));
        assert_eq!(phase(schedule, 1_000_000), (true, None));
    }

    #[test]
    fn a_duration_ends_the_leak_for_good() {
        let schedule = schedule(500, Some(200), None);
        assert_eq!(phase(schedule, 500), (true, Some(700)));
        assert_eq!(phase(schedule, 699), (true, Some(700)));
        assert_eq!(phase(schedule, 700), (false, None));
        assert_eq!(phase(schedule, 9_000), (false, None));
    }

    #[test]
    fn a_repetition_counts_from_one_start_to_the_next() {
        let schedule = schedule(500, Some(200), Some(1000));
        assert_eq!(phase(schedule, 100), (false, Some(500)));
        for cycle in [0, 1, 7, 100_000] {
            let start = 500 + 1000 * cycle;
            let [on, off, next] = [start, start + 200, start + 1000].map(u128::from);
            assert_eq!(phase(schedule, start), (true, Some(off)), "from {on}");
            assert_eq!(phase(schedule, start + 199), (true, Some(off)));
            assert_eq!(phase(schedule, start + 200), (false, Some(next)));
            assert_eq!(phase(schedule, start + 999), (false, Some(next)));
        }
    }

    #[test]
    fn every_change_is_later_than_the_moment_that_asks_for_it() {
        for schedule in [
            schedule(0, Some(1), Some(2)),
            schedule(3, Some(5), Some(6)),
            schedule(7, Some(11), None),
            schedule(13, None, None),
        ] {
            let (mut now, mut active) = (Duration::ZERO, None);
            for _ in 0..50 {
                let phase = schedule.phase(now);
                assert_ne!(active, Some(phase.active), "{schedule:?} at {now:?}");
                let Some(next) = phase.ends_at else { break };
                assert!(next > now, "{schedule:?} at {now:?}");
                (now, active) = (next, Some(phase.active));
            }
        }
    }
}
