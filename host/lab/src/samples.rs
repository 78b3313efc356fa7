//! A bounded history of samples, one a second.
//!
//! Distances in time are taken from the monotonic clock: setting the machine's clock neither empties
//! nor stretches a window. The wall-clock time is kept beside it, for people and for charts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use plugin_host::timestamp::Timestamp;

/// The time between two samples.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Fifteen minutes of samples.
pub(crate) const HISTORY_SAMPLES: usize = 900;

/// The time that they cover.
const HISTORY: Duration = Duration::from_secs(900);

/// A value and when it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<T> {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: T,
}

/// The last samples, oldest first; a full ring forgets the oldest.
#[derive(Debug, Clone)]
pub(crate) struct SampleRing<T> {
    samples: VecDeque<Sample<T>>,
    capacity: usize,
}

impl<T> SampleRing<T> {
    /// A ring of at most `capacity` samples, at least one. Memory is taken as samples come in.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            samples: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Adds a sample. One that is older than the newest is dropped, so that the ring stays in order.
    pub(crate) fn push(&mut self, at: Timestamp, value: T) {
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

    /// Adds a sample, or, where the value has not changed, lets the newest one be of now: a value that stays takes two
    /// samples, of its first and of its last moment.
    pub(crate) fn push_change(&mut self, at: Timestamp, value: T)
    where
        T: PartialEq,
    {
        let stays = |back: usize| {
            let index = self.samples.len().checked_sub(back);
            index
                .and_then(|i| self.samples.get(i))
                .is_some_and(|s| s.value == value)
        };
        if stays(1)
            && stays(2)
            && let Some(newest) = self.samples.back_mut()
        {
            if newest.at.instant <= at.instant {
                newest.at = at;
            }
            return;
        }
        self.push(at, value);
        // What a value that stayed for long has made room for is taken only once it is needed.
        let oldest = |ring: &Self| ring.samples.get(1).map(|s| s.at.instant);
        while oldest(self)
            .is_some_and(|second| at.instant.saturating_duration_since(second) > HISTORY)
        {
            self.samples.pop_front();
        }
    }

    /// The value that has stayed for this long, if there is one.
    pub(crate) fn unchanged(&self, time: Duration) -> Option<&T>
    where
        T: PartialEq,
    {
        let newest = self.latest()?;
        let before = self.samples.get(self.len().checked_sub(2)?)?;
        let stayed = newest.at.instant.duration_since(before.at.instant);
        (before.value == newest.value && stayed >= time).then_some(&newest.value)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// The newest.
    pub(crate) fn latest(&self) -> Option<&Sample<T>> {
        self.samples.back()
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Sample<T>> + ExactSizeIterator {
        self.samples.iter()
    }

    /// Those at most `window` older than the newest, oldest first.
    pub(crate) fn window(&self, window: Duration) -> impl DoubleEndedIterator<Item = &Sample<T>> {
        let newest = self.latest().map(|latest| latest.at.instant);
        let start = self.samples.partition_point(|sample| {
            newest.is_some_and(|newest| newest.duration_since(sample.at.instant) > window)
        });
        self.samples.range(start..)
    }

    /// The newest that is at least `age` old, seen from `now`; else the oldest there is.
    pub(crate) fn before(&self, now: Instant, age: Duration) -> Option<&Sample<T>> {
        let young = self
            .samples
            .partition_point(|sample| now.saturating_duration_since(sample.at.instant) >= age);
        self.samples.get(young.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_stayed_is_told_from_what_has_changed() {
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let mut ring = SampleRing::new(900);
        assert_eq!(ring.unchanged(minute), None);
        ring.push_change(at(start, 0), 'a');
        assert_eq!(ring.unchanged(minute), None);
        ring.push_change(at(start, 1), 'b');
        ring.push_change(at(start, 2), 'b');
        ring.push_change(at(start, 60), 'b');
        assert_eq!(ring.unchanged(minute), None);
        ring.push_change(at(start, 61), 'b');
        assert_eq!(ring.unchanged(minute), Some(&'b'));
        ring.push_change(at(start, 62), 'c');
        assert_eq!(ring.unchanged(minute), None);
    }

    fn at(start: Instant, second: u64) -> Timestamp {
        Timestamp {
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
    fn a_full_ring_forgets_the_oldest_and_does_not_grow() {
        let ring = filled(Instant::now(), 5, 0..100);
        assert_eq!(values(ring.iter()), [95, 96, 97, 98, 99]);
        assert_eq!(ring.len(), 5);
        assert!(ring.samples.capacity() < 16);
    }

    #[test]
    fn a_window_is_measured_from_the_newest() {
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
            let mut moment = at(start, second);
            moment.unix_seconds -= 86_400.0;
            ring.push(moment, second);
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
    fn looks_back_by_age() {
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
        assert_eq!(back(1000), Some(0), "the oldest there is");
        assert_eq!(SampleRing::<u64>::new(3).before(now, Duration::ZERO), None);
    }

    #[test]
    fn a_value_that_stays_takes_two_samples_and_is_known_at_every_moment() {
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
        // What is older than the history goes.
        ring.push_change(at(start, 2000), 9);
        assert_eq!(values(ring.iter()), [8, 9]);
    }

    #[test]
    fn capacity_is_at_least_one() {
        let ring = filled(Instant::now(), 0, 0..3);
        assert_eq!(values(ring.iter()), [2]);
    }
}
