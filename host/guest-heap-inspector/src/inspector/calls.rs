//! How many calls a guest had served at each reading of the last 15 minutes.

use std::collections::VecDeque;
use std::time::Duration;

use guest_heap::history::WINDOW;

/// Counts that are kept: about one a second for 15 minutes.
const MAX_COUNTS: usize = 1802;

/// The time of each reading, and the calls until then, oldest first.
#[derive(Debug, Default)]
pub(super) struct CallCounts(VecDeque<(Duration, u64)>);

impl CallCounts {
    pub(super) fn push(&mut self, at: Duration, calls: u64) {
        let counts = &mut self.0;
        // Queries can make several readings in a second. Only the last one is kept, so that the
        // counts reach back as far as the history.
        let before = counts.iter().rev().nth(1);
        if before.is_some_and(|(before, _)| at.saturating_sub(*before) < Duration::from_secs(1)) {
            counts.pop_back();
        }
        counts.push_back((at, calls));
        let is_old = |second: &(Duration, u64)| at.saturating_sub(second.0) > WINDOW;
        while counts.len() > MAX_COUNTS || counts.get(1).is_some_and(is_old) {
            counts.pop_front();
        }
    }

    /// The calls between two times, counted back from the last reading. A lower count is that of a
    /// new instance, which began at 0.
    pub(super) fn between(&self, begin_ago: Duration, end_ago: Duration) -> Option<u64> {
        let (then, later) = (self.before(begin_ago)?, self.before(end_ago)?);
        Some(later.checked_sub(then).unwrap_or(later))
    }

    /// The count at the latest reading that is at least `ago` before the last one, or the oldest.
    fn before(&self, ago: Duration) -> Option<u64> {
        let wanted = self.0.back()?.0.saturating_sub(ago);
        let later = self.0.partition_point(|(at, _)| *at <= wanted);
        let (_, calls) = self.0.get(later.saturating_sub(1))?;
        Some(*calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_between_readings() {
        let mut counts = CallCounts::default();
        assert_eq!(counts.between(WINDOW, Duration::ZERO), None);
        let seconds = Duration::from_secs;
        for (at, calls) in [(10, 5), (20, 15), (30, 40), (40, 2)] {
            counts.push(seconds(at), calls);
        }
        assert_eq!(counts.between(seconds(20), seconds(10)), Some(25));
        assert_eq!(counts.between(seconds(25), seconds(10)), Some(35));
        assert_eq!(counts.between(WINDOW, seconds(10)), Some(35));
        assert_eq!(
            counts.between(seconds(10), Duration::ZERO),
            Some(2),
            "a new instance"
        );
    }

    #[test]
    fn the_counts_are_bounded_and_reach_back_as_far_as_the_history() {
        let mut counts = CallCounts::default();
        for tick in 0..20_000_u64 {
            counts.push(Duration::from_millis(250 * tick), tick);
        }
        assert!(counts.0.len() <= MAX_COUNTS, "{}", counts.0.len());
        let calls = counts.between(WINDOW, Duration::ZERO);
        assert!(
            calls.is_some_and(|calls| calls.abs_diff(3600) <= 4),
            "{calls:?}"
        );
    }
}
