//! Whether a plugin's own calls are slow.
//!
//! On a busy machine a call waits long although its plugin is quick. Such a call is made as soon as
//! it can be. Only the calls of a plugin that is itself slow are skipped, so that a request waits
//! for no more than the plugin's deadline. So the time that a call takes must not count the time
//! for which its thread did not run: a call that ended without a pause counts for little.
//!
//! A call of a large instance that takes long may have been one instruction, which nothing can
//! interrupt. For a while the instance's calls then run on a thread of their own. Here the time
//! that the thread did not run does count: the mistake costs little.

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

/// Time after a long call for which a large instance gets a thread for its calls. One that makes
/// its long call just after it delays other requests by that instruction, once in this time.
const LONG_CALL_MEMORY: Duration = Duration::from_secs(10);

/// The weight of the last call in the average: one of this many.
const WEIGHT: u64 = 16;

/// The average time of the last calls of an instance.
#[derive(Debug, Default)]
pub(crate) struct CallPace {
    average_nanos: u64,
    last_long: Option<Instant>,
}

impl CallPace {
    /// Records a call. `paused` says whether it waited in the host or was paused by the engine.
    pub(crate) fn record(&mut self, took: Duration, paused: bool, deadline: Duration) {
        if took >= MIN_LONG {
            self.last_long = Some(Instant::now());
        }
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

    /// Whether the next calls may keep their thread for too long.
    pub(crate) fn needs_own_thread(&self, size: Size) -> bool {
        match size {
            Size::Small => false,
            Size::Large => self
                .last_long
                .is_some_and(|at| at.elapsed() < LONG_CALL_MEMORY),
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
        for paused in [false, true] {
            let long = pace(&[(20, paused), (0, false)]);
            assert!(long.needs_own_thread(Size::Large));
            assert!(!long.needs_own_thread(Size::Small));
        }
        let mut recovered = pace(&[(20, true)]);
        recovered.last_long = Instant::now().checked_sub(LONG_CALL_MEMORY);
        assert!(!recovered.needs_own_thread(Size::Large));
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
