//! A schedule that runs: it makes an enabled leak active and inactive.
//!
//! The driver's task waits for the next change. The request path reads one published flag.

use tokio::time::Instant;

use crate::driver::Driver;
use crate::driver::journal::EventKind;
use crate::settings::schedule::{Phase, Schedule};

/// A schedule, and when it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScheduleRun {
    schedule: Schedule,
    since: Instant,
    /// The time of the next change; `None` if there is none.
    pub(super) next_change: Option<Instant>,
}

impl ScheduleRun {
    /// A schedule that begins now.
    fn start(schedule: Schedule, now: Instant) -> Self {
        ScheduleRun {
            schedule,
            since: now,
            next_change: None,
        }
    }

    /// Finds the next change. Returns whether the leak is active now.
    ///
    /// A task that wakes up late misses phases that are over, and no later one.
    fn advance(&mut self, now: Instant) -> bool {
        let Phase { active, ends_at } = self.schedule.phase(now.duration_since(self.since));
        self.next_change = ends_at.and_then(|end| self.since.checked_add(end));
        active
    }
}

impl Driver {
    /// Begins the schedule of an enabled leak. A leak without a schedule is active while it is
    /// enabled.
    pub(super) fn start_schedule(&mut self) {
        let enabled = self.published.enabled();
        let now = Instant::now();
        let schedule = self.details.settings.policy().schedule;
        let schedule = schedule.filter(|_| enabled);
        self.schedule = schedule.map(|schedule| ScheduleRun::start(schedule, now));
        let active = match &mut self.schedule {
            Some(run) => run.advance(now),
            None => enabled,
        };
        self.details.next_change = self.schedule.and_then(|run| run.next_change);
        self.published.set_active(active);
    }

    /// Makes the leak active or inactive at its time.
    pub(super) fn follow_schedule(&mut self) {
        let Some(run) = &mut self.schedule else {
            return;
        };
        let active = run.advance(Instant::now());
        self.details.next_change = run.next_change;
        if self.published.active() != active {
            tracing::info!(plugin = self.id(), active, "scheduled");
            self.published.journal().record(if active {
                EventKind::ScheduledOn
            } else {
                EventKind::ScheduledOff
            });
            // A target is reached within its time after each start.
            self.target.restart();
            self.published.set_active(active);
        }
        self.publish();
    }

    /// When the schedule changes next.
    pub(super) fn next_change(&self) -> Option<Instant> {
        self.schedule.and_then(|run| run.next_change)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_task_that_wakes_up_late_goes_on_with_the_present_phase() {
        let seconds = Duration::from_secs;
        let schedule = Schedule::of(Some(seconds(5)), Some(seconds(2)), Some(seconds(10))).unwrap();
        let start = Instant::now();
        let mut run = ScheduleRun::start(schedule, start);
        let mut at = |second| {
            let active = run.advance(start + seconds(second));
            let next = run.next_change.map(|next| (next - start).as_secs());
            (active, next)
        };
        assert_eq!(at(0), (false, Some(5)));
        assert_eq!(at(5), (true, Some(7)));
        // It should have woken up at 7, 15, 17, 25 and 27.
        assert_eq!(at(31), (false, Some(35)));
        assert_eq!(at(36), (true, Some(37)));
    }
}
