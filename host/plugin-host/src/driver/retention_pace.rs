//! How much the next call may retain, so that a leak with `max_mb` stops before its limit and not
//! after it. The calls of a growing curve retain more each time.

/// What the last calls have retained.
#[derive(Debug, Default)]
pub(crate) struct RetentionPace {
    /// Bytes that the last call retained, among those that retained any.
    last: u64,
    /// The same of the call before it.
    previous: u64,
    /// Bytes that the pattern retained in total after the last call.
    total: u64,
}

impl RetentionPace {
    /// Records a call, by the bytes that the pattern retained before and after it.
    pub(crate) fn record(&mut self, before: u64, after: u64) {
        if after < before || before < self.total {
            *self = RetentionPace::default();
        }
        let retained = after.saturating_sub(before);
        if retained > 0 {
            self.previous = self.last;
            self.last = retained;
        }
        self.total = after;
    }

    /// Bytes that the next call may retain, if the pattern retains `total` bytes now: those of the
    /// last call, by the same factor more as the last call retained more than the one before.
    /// Zero after a clear, when a curve begins again.
    pub(crate) fn next(&self, total: u64) -> u64 {
        if total < self.total {
            return 0;
        }
        if self.last <= self.previous || self.previous == 0 {
            return self.last;
        }
        let grown = u128::from(self.last)
            .pow(2)
            .div_ceil(u128::from(self.previous));
        u64::try_from(grown).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records calls that retain these bytes, and returns the total.
    fn pace(calls: &[u64]) -> (RetentionPace, u64) {
        let mut pace = RetentionPace::default();
        let mut total = 0;
        for bytes in calls {
            pace.record(total, total + bytes);
            total += bytes;
        }
        (pace, total)
    }

    #[test]
    fn the_next_call_retains_what_the_curve_says() {
        for (calls, next) in [
            (&[] as &[u64], 0),
            (&[100], 100),
            (&[100, 100], 100),
            (&[100, 200, 400], 800),
            (&[0, 0, 1000, 0, 0], 1000),
            (&[1000, 100], 100),
        ] {
            let (pace, total) = pace(calls);
            assert_eq!(pace.next(total), next, "{calls:?}");
        }
    }

    #[test]
    fn a_clear_begins_again() {
        let (mut pace, total) = pace(&[100, 200, 400]);
        assert_eq!(pace.next(0), 0);
        pace.record(0, 100);
        assert_eq!(pace.next(100), 100);
        // The pattern itself drops most of what it retains.
        pace.record(total, 50);
        assert_eq!(pace.next(50), 0);
    }
}
