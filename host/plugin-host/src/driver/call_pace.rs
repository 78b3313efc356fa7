//! Whether a plugin's own calls are slow.
//!
//! On a busy machine a call waits long although its plugin is quick. Such a call is made as soon as
//! it can be. Only the calls of a plugin that is itself slow are skipped, so that a request waits
//! for no more than the plugin's deadline. So the time that a call takes must not count the time
//! for which its thread did not run: a call that ended without a pause counts for little.
//!
//! A call of a large instance that takes long may have been one instruction, which nothing can
//! interrupt. For a while the instance's calls then run on a thread of their own. Here the time
//! that the thread did not run does count: the mistake costs little. A call in which the memory
//! grows much is left out: it copies a buffer or a table that has doubled, and the limit of the
//! memory bounds how often that happens.

use std::time::{Duration, Instant};

use crate::instance::Size;

/// The part of a deadline that the calls of a quick plugin take on average: one of this many.
const QUICK_SHARE: u32 = 50;

/// The least average time of a slow plugin's calls. A call takes some microseconds.
const MIN_SLOW: Duration = Duration::from_millis(2);

/// What a call without a pause counts for at most. The engine's clock makes each call pause that
/// runs for two ticks of 10 ms; a longer one was interrupted by the kernel.
const MAX_WITHOUT_PAUSE: Duration = Duration::from_millis(10);

/// The least time of a long call of a large instance.
const MIN_LONG: Duration = Duration::from_millis(10);

/// After a long call, a large instance gets a thread for its calls for this many times as long as
/// the call took. So one that makes its next long call just after it keeps a thread of the runtime
/// for one part in this many of the time, and a buffer that doubles costs its instance little.
const LONG_CALL_FACTOR: u32 = 20;

/// A call grows the memory much if it adds one part in this many. From a large instance to a huge
/// one, that happens at most 68 times.
const MIN_GROWTH: u64 = 32;

/// The weight of the last call in the average: one of this many.
const WEIGHT: u64 = 16;

/// The average time of the last calls of an instance.
#[derive(Debug, Default)]
pub(crate) struct CallPace {
    average_nanos: u64,
    own_thread_until: Option<Instant>,
}

impl CallPace {
    /// Records a call. `paused` says whether it waited in the host or was paused by the engine.
    pub(crate) fn record(&mut self, took: Duration, paused: bool, deadline: Duration) {
        let interrupted = !paused && took < deadline / 2;
        let took = if interrupted {
            took.min(MAX_WITHOUT_PAUSE)
        } else {
            took
        };
        // A call takes at most some minutes.
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / WEIGHT);
        self.average_nanos = (self.average_nanos * (WEIGHT - 1) + took) / WEIGHT;
    }

    /// Records a call that may have been long. Of `bytes` before it, the memory grew by `grown`.
    pub(crate) fn record_long(&mut self, took: Duration, bytes: u64, grown: u64) {
        if took >= MIN_LONG && grown < bytes / MIN_GROWTH {
            self.own_thread_until = Instant::now().checked_add(took * LONG_CALL_FACTOR);
        }
    }

    /// Whether the next calls may keep their thread for too long.
    pub(crate) fn needs_own_thread(&self, size: Size) -> bool {
        match size {
            Size::Small => false,
            Size::Large => self
                .own_thread_until
                .is_some_and(|until| Instant::now() < until),
            Size::Huge => true,
        }
    }

    /// Whether the calls are slow for a plugin with this deadline.
    pub(crate) fn is_slow(&self, deadline: Duration) -> bool {
        u128::from(self.average_nanos) > (deadline / QUICK_SHARE).max(MIN_SLOW).as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(250);

    fn pace(calls: &[(u64, bool)]) -> CallPace {
        let mut pace = CallPace::default();
        for (milliseconds, paused) in calls {
            pace.record(Duration::from_millis(*milliseconds), *paused, DEADLINE);
        }
        pace
    }

    #[test]
    fn a_plugin_is_slow_after_one_call_that_takes_most_of_its_deadline() {
        assert!(pace(&[(200, true)]).is_slow(DEADLINE));
        assert!(pace(&[(200, false)]).is_slow(DEADLINE), "one instruction");
        assert!(pace(&[(20, true); 8]).is_slow(DEADLINE));
        assert!(!pace(&[(20, true)]).is_slow(DEADLINE));
    }

    #[test]
    fn a_large_instance_gets_a_thread_after_a_long_call_and_a_huge_one_always() {
        let quick = pace(&[(1, false); 5]);
        assert!(!quick.needs_own_thread(Size::Large));
        assert!(quick.needs_own_thread(Size::Huge));
        let mut long = CallPace::default();
        long.record_long(Duration::from_millis(1000), 100 << 20, 1 << 16);
        assert!(long.needs_own_thread(Size::Large));
        assert!(!long.needs_own_thread(Size::Small));
        long.own_thread_until = Some(Instant::now());
        assert!(!long.needs_own_thread(Size::Large));
        let mut growing = CallPace::default();
        growing.record_long(Duration::from_millis(1000), 100 << 20, 10 << 20);
        assert!(!growing.needs_own_thread(Size::Large));
    }

    #[test]
    fn a_quick_plugin_whose_thread_does_not_run_is_not_slow() {
        let mut calls = Vec::new();
        for _ in 0..10 {
            calls.push((100, false));
            calls.extend([(0, false); 4]);
        }
        assert!(!pace(&calls).is_slow(DEADLINE));
    }

    #[test]
    fn a_plugin_that_was_slow_is_quick_again_after_quick_calls() {
        let mut calls = vec![(200, true); 20];
        assert!(pace(&calls).is_slow(DEADLINE));
        calls.extend([(0, false); 60]);
        assert!(!pace(&calls).is_slow(DEADLINE));
    }
}
