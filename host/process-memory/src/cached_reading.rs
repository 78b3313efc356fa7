//! A reading that is taken anew only after a hundred times of what the last one took: a percent of a core at most,
//! however often somebody asks.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The share of time that reading may take: one part in so many.
const REST: u32 = 100;

/// The last reading, and when it was taken.
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
    /// Hands the value of now, or of a moment ago, to `then`; none when `read` has none. Who asks while somebody reads
    /// waits for that reading.
    pub fn with<R>(
        &self,
        read: impl FnOnce() -> Option<T>,
        then: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = |last: &Last<T>| last.at.elapsed() > last.took * REST;
        if last.as_ref().is_none_or(rested) {
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
    fn what_takes_long_is_read_seldom_and_what_is_quick_often() {
        let readings = Cell::new(0);
        let read = |takes: Duration| {
            readings.set(readings.get() + 1);
            sleep(takes);
            Some(readings.get())
        };
        let slow = CachedReading::default();
        for _ in 0..3 {
            let value = slow.with(|| read(Duration::from_millis(20)), |value| *value);
            assert_eq!(value, Some(1));
        }
        readings.set(0);
        let quick = CachedReading::default();
        quick.with(|| read(Duration::ZERO), |_| ());
        sleep(Duration::from_millis(50));
        assert_eq!(quick.with(|| read(Duration::ZERO), |v| *v), Some(2));
    }

    #[test]
    fn without_a_reading_there_is_no_value_and_the_next_one_is_tried() {
        let value = CachedReading::<u64>::default();
        assert_eq!(value.with(|| None, |v| *v), None);
        assert_eq!(value.with(|| Some(3), |v| *v), Some(3));
    }
}
