//! A reading that is refreshed at a bounded cost: at most one percent of a core, however many
//! callers ask, and at most ten percent while what is read keeps changing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A reading stays valid for this many times the time that it took.
const VALIDITY_FACTOR: u32 = 100;

/// The same for a reading that the caller knows to be outdated.
const OUTDATED_VALIDITY_FACTOR: u32 = 10;

/// The last reading, with its time and duration.
#[derive(Debug)]
pub struct CachedReading<T> {
    last: Mutex<Option<Last<T>>>,
}

#[derive(Debug)]
struct Last<T> {
    at: Instant,
    took: Duration,
    value: T,
}

impl<T> Default for CachedReading<T> {
    fn default() -> Self {
        Self {
            last: Mutex::new(None),
        }
    }
}

impl<T> CachedReading<T> {
    /// Makes the next caller read again, whatever it costs.
    pub fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Passes the current reading to `then`, and calls `read` first if the last one is too old.
    ///
    /// `None` when `read` has no value; the next call tries again. A caller that arrives during a
    /// reading waits for it.
    pub fn with<R>(
        &self,
        read: impl FnOnce() -> Option<T>,
        then: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        self.with_current(|_| false, read, then)
    }

    /// As [`with`](Self::with), but a reading that `is_outdated` is refreshed sooner.
    pub fn with_current<R>(
        &self,
        is_outdated: impl FnOnce(&T) -> bool,
        read: impl FnOnce() -> Option<T>,
        then: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stale = |last: &Last<T>| {
            let factor = if is_outdated(&last.value) {
                OUTDATED_VALIDITY_FACTOR
            } else {
                VALIDITY_FACTOR
            };
            last.at.elapsed() > last.took * factor
        };
        if last.as_ref().is_none_or(is_stale) {
            let started = Instant::now();
            let value = read()?;
            *last = Some(Last {
                at: Instant::now(),
                took: started.elapsed(),
                value,
            });
        }
        last.as_ref().map(|last| then(&last.value))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread::sleep;

    use super::*;

    #[test]
    fn a_slow_reading_is_reused_for_longer_than_a_quick_one() {
        let readings = Cell::new(0);
        let read = |takes: Duration| {
            readings.set(readings.get() + 1);
            sleep(takes);
            Some(readings.get())
        };
        let slow = CachedReading::default();
        for _ in 0..3 {
            let value = slow.with(|| read(Duration::from_millis(20)), |v| *v);
            assert_eq!(value, Some(1));
        }
        slow.forget();
        let value = slow.with(|| read(Duration::ZERO), |v| *v);
        assert_eq!(value, Some(2));
        readings.set(0);
        let quick = CachedReading::default();
        quick.with(|| read(Duration::ZERO), |_| ());
        sleep(Duration::from_millis(50));
        let value = quick.with(|| read(Duration::ZERO), |v| *v);
        assert_eq!(value, Some(2));
    }

    #[test]
    fn an_outdated_reading_is_refreshed_sooner_but_not_at_once() {
        let reading = CachedReading::default();
        let took = Cell::new(Duration::ZERO);
        let read = |wanted: i32| {
            let read = || {
                let started = Instant::now();
                sleep(Duration::from_millis(20));
                took.set(started.elapsed());
                Some(wanted)
            };
            reading.with_current(|last| *last != wanted, read, |v| *v)
        };
        assert_eq!(read(1), Some(1));
        let first_took = took.get();
        let started = Instant::now();
        while read(2) != Some(2) {
            sleep(Duration::from_millis(1));
        }
        let kept = started.elapsed();
        assert!(kept > first_took * 5, "{kept:?} after {first_took:?}");
        assert!(kept < first_took * 100, "{kept:?} after {first_took:?}");
    }

    #[test]
    fn a_failed_reading_has_no_value_and_the_next_call_tries_again() {
        let value = CachedReading::<u64>::default();
        assert_eq!(value.with(|| None, |v| *v), None);
        assert_eq!(value.with(|| Some(3), |v| *v), Some(3));
    }
}
