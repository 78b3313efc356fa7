//! A bounded series of samples, one per second.
//!
//! The series measures time on the monotonic clock, so a change of the machine's clock neither
//! empties nor stretches a window. Each sample also has its wall-clock time, for people and for
//! charts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use plugin_host::clock_reading::ClockReading;

/// The time between two samples.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The time that a series covers.
const SERIES_WINDOW: Duration = Duration::from_secs(900);

/// The number of samples in a full series.
pub(crate) const MAX_SAMPLES: usize =
    (SERIES_WINDOW.as_secs() / SAMPLE_INTERVAL.as_secs()) as usize;

/// A value and its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample<T> {
    pub(crate) at: ClockReading,
    pub(crate) value: T,
}

/// The last samples, oldest first. A full ring drops its oldest sample.
#[derive(Debug, Clone)]
pub(crate) struct SampleRing<T> {
    samples: VecDeque<Sample<T>>,
    capacity: usize,
}

impl<T> SampleRing<T> {
    /// A ring of at most `capacity` samples, at least one. It allocates as samples arrive.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            samples: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Adds a sample. A sample that is older than the newest one is dropped, to keep the order.
    pub(crate) fn push(&mut self, at: ClockReading, value: T) {
        if self
            .latest()
            .is_some_and(|latest| latest.at.instant > at.instant)
        {
            return;
        }
        if self.samples.len() == self.capacity {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at, value });
    }

    /// Adds a sample, or moves the newest sample to `at` if the last two have this value already. A
    /// value that stays the same takes two samples: for the start and the end of its time.
    pub(crate) fn push_change(&mut self, at: ClockReading, value: T)
    where
        T: PartialEq,
    {
        let has_value = |position_from_end: usize| {
            let index = self.samples.len().checked_sub(position_from_end);
            index
                .and_then(|i| self.samples.get(i))
                .is_some_and(|s| s.value == value)
        };
        if has_value(1)
            && has_value(2)
            && let Some(newest) = self.samples.back_mut()
        {
            if newest.at.instant <= at.instant {
                newest.at = at;
            }
            return;
        }
        self.push(at, value);
        // A value that stayed the same for long leaves samples older than the window behind.
        let second = |ring: &Self| ring.samples.get(1).map(|s| s.at.instant);
        while second(self)
            .is_some_and(|second| at.instant.saturating_duration_since(second) > SERIES_WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// The newest value, if it has stayed the same for at least `time`. Only for a ring that is
    /// filled by [`SampleRing::push_change`].
    pub(crate) fn unchanged_for(&self, time: Duration) -> Option<&T>
    where
        T: PartialEq,
    {
        let newest = self.latest()?;
        let before = self.samples.get(self.len().checked_sub(2)?)?;
        let unchanged = newest.at.instant.duration_since(before.at.instant);
        (before.value == newest.value && unchanged >= time).then_some(&newest.value)
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    pub(crate) fn latest(&self) -> Option<&Sample<T>> {
        self.samples.back()
    }

    pub(crate) fn oldest(&self) -> Option<&Sample<T>> {
        self.samples.front()
    }

    /// All samples, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Sample<T>> + ExactSizeIterator {
        self.samples.iter()
    }

    /// The samples at most `window` older than the newest one, oldest first.
    pub(crate) fn window(&self, window: Duration) -> impl DoubleEndedIterator<Item = &Sample<T>> {
        let newest = self.latest().map(|latest| latest.at.instant);
        let start = self.samples.partition_point(|sample| {
            newest.is_some_and(|newest| newest.duration_since(sample.at.instant) > window)
        });
        self.samples.range(start..)
    }

    /// The newest sample that is at least `age` old at `now`; without one, the oldest sample.
    pub(crate) fn before(&self, now: Instant, age: Duration) -> Option<&Sample<T>> {
        let old_enough = self
            .samples
            .partition_point(|sample| now.saturating_duration_since(sample.at.instant) >= age);
        self.samples.get(old_enough.saturating_sub(1))
    }
}

impl<T: Copy + PartialEq> SampleRing<T> {
    /// One sample per second at most `window` older than the newest one, oldest first. Between two
    /// equal samples, the seconds that [`SampleRing::push_change`] left out are filled in.
    pub(crate) fn each_second(&self, window: Duration) -> impl Iterator<Item = Sample<T>> {
        let newest = self.latest().map(|s| s.at.instant);
        let mut previous: Option<Sample<T>> = None;
        let filled = self.iter().flat_map(move |sample| {
            let before = previous
                .replace(*sample)
                .filter(|p| p.value == sample.value);
            let gap = before.map_or(0.0, |p| {
                (sample.at.instant - p.at.instant).as_secs_f64() / SAMPLE_INTERVAL.as_secs_f64()
            });
            let left_out = 1..gap.round() as u32;
            let sample = *sample;
            let filling = left_out.rev().filter_map(move |intervals| {
                let ago = SAMPLE_INTERVAL * intervals;
                Some(Sample {
                    at: ClockReading {
                        instant: sample.at.instant.checked_sub(ago)?,
                        unix_seconds: sample.at.unix_seconds - ago.as_secs_f64(),
                    },
                    value: sample.value,
                })
            });
            filling.chain(std::iter::once(sample))
        });
        filled.filter(move |s| newest.is_some_and(|n| n - s.at.instant <= window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_as_unchanged_after_the_given_time() {
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let mut ring = SampleRing::new(900);
        assert_eq!(ring.unchanged_for(minute), None);
        ring.push_change(at(start, 0), 'a');
        assert_eq!(ring.unchanged_for(minute), None);
        ring.push_change(at(start, 1), 'b');
        ring.push_change(at(start, 2), 'b');
        ring.push_change(at(start, 60), 'b');
        assert_eq!(ring.unchanged_for(minute), None);
        ring.push_change(at(start, 61), 'b');
        assert_eq!(ring.unchanged_for(minute), Some(&'b'));
        ring.push_change(at(start, 62), 'c');
        assert_eq!(ring.unchanged_for(minute), None);
    }

    fn at(start: Instant, second: u64) -> ClockReading {
        ClockReading {
            instant: start + Duration::from_secs(second),
            unix_seconds: 1e9 + second as f64,
        }
    }

    fn filled(start: Instant, capacity: usize, seconds: std::ops::Range<u64>) -> SampleRing<u64> {
        let mut ring = SampleRing::new(capacity);
        for second in seconds {
            ring.push(at(start, second), second);
        }
        ring
    }

    fn values<'s>(samples: impl Iterator<Item = &'s Sample<u64>>) -> Vec<u64> {
        samples.map(|sample| sample.value).collect()
    }

    #[test]
    fn a_full_ring_drops_its_oldest_sample_and_does_not_grow() {
        let ring = filled(Instant::now(), 5, 0..100);
        assert_eq!(values(ring.iter()), [95, 96, 97, 98, 99]);
        assert_eq!(ring.len(), 5);
        assert!(ring.samples.capacity() < 16);
    }

    #[test]
    fn a_window_is_measured_from_the_newest_sample() {
        let ring = filled(Instant::now(), 900, 0..100);
        assert_eq!(
            values(ring.window(Duration::from_secs(3))),
            [96, 97, 98, 99]
        );
        assert_eq!(ring.window(Duration::from_secs(1000)).count(), 100);
        assert_eq!(values(ring.window(Duration::ZERO)), [99]);
        assert_eq!(
            SampleRing::<u64>::new(3)
                .window(Duration::from_secs(3))
                .count(),
            0
        );
    }

    #[test]
    fn a_jump_of_the_wall_clock_changes_no_window() {
        let start = Instant::now();
        let mut ring = filled(start, 900, 0..10);
        // The machine's clock is set back by a day.
        for second in 10..20 {
            let mut time = at(start, second);
            time.unix_seconds -= 86_400.0;
            ring.push(time, second);
        }
        assert_eq!(
            values(ring.window(Duration::from_secs(12))),
            (7..20).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_sample_from_the_past_is_dropped() {
        let start = Instant::now();
        let mut ring = filled(start, 900, 5..8);
        ring.push(at(start, 6), 60);
        assert_eq!(values(ring.iter()), [5, 6, 7]);
    }

    #[test]
    fn a_past_sample_is_found_by_its_age() {
        let start = Instant::now();
        let ring = filled(start, 900, 0..100);
        let now = start + Duration::from_millis(99_500);
        let back = |seconds| {
            ring.before(now, Duration::from_secs(seconds))
                .map(|sample| sample.value)
        };
        assert_eq!(back(0), Some(99));
        assert_eq!(back(10), Some(89));
        assert_eq!(back(99), Some(0));
        assert_eq!(back(1000), Some(0), "the oldest sample");
        assert_eq!(SampleRing::<u64>::new(3).before(now, Duration::ZERO), None);
    }

    #[test]
    fn an_unchanged_value_takes_two_samples_and_is_found_at_every_age() {
        let start = Instant::now();
        let mut ring = SampleRing::new(900);
        for second in 0..100 {
            ring.push_change(at(start, second), if second < 50 { 7 } else { 8 });
        }
        assert_eq!(values(ring.iter()), [7, 7, 8, 8]);
        let now = start + Duration::from_secs(99);
        let back = |seconds| {
            ring.before(now, Duration::from_secs(seconds))
                .map(|sample| sample.value)
        };
        assert_eq!((back(10), back(49), back(60)), (Some(8), Some(8), Some(7)));
        // Samples older than the window are dropped.
        ring.push_change(at(start, 2000), 9);
        assert_eq!(values(ring.iter()), [8, 9]);
    }

    #[test]
    fn capacity_is_at_least_one() {
        let ring = filled(Instant::now(), 0, 0..3);
        assert_eq!(values(ring.iter()), [2]);
    }

    #[test]
    fn each_second_has_a_sample_whether_it_was_stored_or_left_out() {
        let start = Instant::now();
        let window = Duration::from_secs(60);
        // Constant for a minute, then growing.
        let value = |second: u64| second.max(60);
        let (mut all, mut changes) = (SampleRing::new(900), SampleRing::new(900));
        for second in 0..100 {
            all.push(at(start, second), value(second));
            changes.push_change(at(start, second), value(second));
        }
        assert!(changes.len() < 45, "{}", changes.len());
        let expected: Vec<_> = all.window(window).copied().collect();
        assert_eq!(changes.each_second(window).collect::<Vec<_>>(), expected);
    }
}
