//! The floor of a heap that falls by itself: what stays live after its collections.
//!
//! Between two collections, live bytes rise whether the guest leaks or not. So only the lowest
//! sizes after the falls are compared with each other. A batch that is freed at once looks the same
//! and is read the same way.

use super::{FloorSeries, Sample, WINDOWS};

/// A heap that falls by this many bytes and by a tenth has fallen by itself.
const MIN_FALL_BYTES: u64 = 65_536;

/// A heap has outgrown its collections if it has not fallen for this many times the most calls
/// between two falls, and is larger than it was before any of them: they free nothing any more. A
/// collector that waits until the heap has doubled takes up to three times as long each time.
const MAX_GAP_FACTOR: u64 = 3;

/// The collections of a guest, as its samples show them.
#[derive(Debug, Clone, PartialEq)]
pub struct Collections {
    /// The floors, oldest first, at most one per window.
    floors: Vec<Floor>,
    /// The largest growth between two successive samples: what a floor can be too high by, because
    /// no sample was taken right after the collection.
    noise_bytes: u64,
    last_calls: u64,
    last_live_bytes: u64,
    falls: usize,
}

/// The smallest size after a fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Floor {
    calls: u64,
    live_bytes: u64,
    linear_bytes: u64,
    /// The position among the samples with calls.
    index: usize,
}

impl Collections {
    /// The collections in these samples, oldest first, all of one instance. Samples without a call
    /// since the one before do not count. `None` if the live bytes have not fallen by themselves,
    /// or have outgrown their collections.
    pub fn of<T>(samples: impl IntoIterator<Item = Sample<T>>) -> Option<Self> {
        let mut active: Vec<Sample<T>> = Vec::new();
        for sample in samples {
            if active.last().is_none_or(|last| sample.calls > last.calls) {
                active.push(sample);
            }
        }
        Self::of_active(&active)
    }

    /// The same for samples that all have calls since the one before.
    pub(super) fn of_active<T>(active: &[Sample<T>]) -> Option<Self> {
        let (first, last) = (active.first()?, active.last()?);
        let floors = floors(active);
        let newest = floors.last()?;
        let starts = std::iter::once(first.calls).chain(floors.iter().map(|floor| floor.calls));
        let gaps = floors.iter().zip(starts).map(|(b, a)| b.calls - a);
        let longest = gaps.max().unwrap_or_default();
        let is_late = last.calls - newest.calls > longest * MAX_GAP_FACTOR;
        let before = active.iter().take(newest.index);
        let peak = before.map(|sample| sample.live_bytes).max()?;
        if is_late && last.live_bytes > peak {
            return None;
        }
        let rise = |(a, b): (&Sample<T>, &Sample<T>)| b.live_bytes.saturating_sub(a.live_bytes);
        Some(Self {
            noise_bytes: active.iter().zip(active.iter().skip(1)).map(rise).max()?,
            last_calls: last.calls,
            last_live_bytes: last.live_bytes,
            falls: floors.len(),
            floors: lowest_of_each_window(&floors),
        })
    }

    /// How often the live bytes have fallen.
    pub fn falls(&self) -> usize {
        self.falls
    }

    /// Growth of the floor per call. `None` after a single fall, zero if the floor has not risen
    /// each time, or by less than what one sample adds.
    pub fn floor_bytes_per_call(&self) -> Option<f64> {
        let growth = self.per_call(|floor| floor.live_bytes)?;
        let (first, last) = (self.floors.first()?, self.floors.last()?);
        let rise = last.live_bytes.saturating_sub(first.live_bytes);
        Some(if rise > self.noise_bytes { growth } else { 0.0 })
    }

    /// Growth of linear memory per call, from one collection to the last. `None` after a single
    /// fall.
    pub fn linear_bytes_per_call(&self) -> Option<f64> {
        self.per_call(|floor| floor.linear_bytes)
    }

    /// What a collection would leave now, in bytes: the last floor, and its growth since.
    pub fn floor_bytes(&self) -> u64 {
        let Some(last) = self.floors.last() else {
            return self.last_live_bytes;
        };
        let calls = (self.last_calls - last.calls) as f64;
        let growth = self.floor_bytes_per_call().unwrap_or_default() * calls;
        let floor = last.live_bytes.saturating_add(growth.round() as u64);
        floor.min(self.last_live_bytes)
    }

    /// Linear memory at each floor. On the first slope it grows whether the allocator holds free
    /// memory or not; afterwards only if it does, or if the floor rises.
    pub(super) fn linear(&self) -> FloorSeries {
        let bytes = self.floors.iter().map(|floor| floor.linear_bytes);
        FloorSeries(bytes.collect())
    }

    /// The position of the last floor among the samples with calls.
    pub(super) fn last_index(&self) -> usize {
        self.floors.last().map_or(0, |floor| floor.index)
    }

    /// Growth per call from the first floor to the last; zero unless it grows each time.
    fn per_call(&self, bytes: impl Fn(&Floor) -> u64) -> Option<f64> {
        let [first, .., last] = self.floors.as_slice() else {
            return None;
        };
        let rises = self.floors.is_sorted_by(|a, b| bytes(a) < bytes(b));
        let rise = bytes(last).saturating_sub(bytes(first)) as f64;
        let calls = last.calls.saturating_sub(first.calls).max(1);
        Some(if rises { rise / calls as f64 } else { 0.0 })
    }
}

/// The smallest size after each fall. A fall over several samples is one.
fn floors<T>(active: &[Sample<T>]) -> Vec<Floor> {
    let mut floors: Vec<Floor> = Vec::new();
    let mut falling = false;
    let pairs = active.iter().zip(active.iter().skip(1)).zip(1_usize..);
    for ((before, sample), index) in pairs {
        let floor = Floor {
            calls: sample.calls,
            live_bytes: sample.live_bytes,
            linear_bytes: sample.linear_bytes,
            index,
        };
        let is_lower = sample.live_bytes < before.live_bytes;
        if falling && is_lower {
            floors.pop();
            floors.push(floor);
        } else if has_fallen(before.live_bytes, sample.live_bytes) {
            floors.push(floor);
            falling = true;
        } else {
            falling = false;
        }
    }
    floors
}

/// Whether live bytes have fallen by themselves.
fn has_fallen(before: u64, now: u64) -> bool {
    before.saturating_sub(now) >= MIN_FALL_BYTES.max(before / 10)
}

/// The lowest floor of each window. Windows have equal numbers of falls.
fn lowest_of_each_window(floors: &[Floor]) -> Vec<Floor> {
    let windows = floors.len().min(WINDOWS);
    let mut lowest: Vec<Floor> = Vec::new();
    for (position, floor) in floors.iter().enumerate() {
        let window = position * windows / floors.len();
        match lowest.get_mut(window) {
            Some(known) if known.live_bytes > floor.live_bytes => *known = *floor,
            Some(_) => {}
            None => lowest.push(*floor),
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: u64 = 10;

    /// One sample per second, with ten calls each.
    fn samples(live: impl IntoIterator<Item = u64>) -> Vec<Sample<u64>> {
        let sample = |(at, live_bytes): (u64, u64)| Sample {
            at,
            calls: at * CALLS,
            live_bytes,
            linear_bytes: 8 << 20,
            unseen_bytes: 0,
        };
        (0..).zip(live).map(sample).collect()
    }

    /// A sawtooth that falls every `period` seconds and keeps `kept` bytes each time.
    fn sawtooth(seconds: u64, period: u64, kept: u64) -> Vec<Sample<u64>> {
        samples((0..seconds).map(|n| 1_000_000 + n % period * 50_000 + n / period * kept))
    }

    #[test]
    fn the_floor_of_a_sawtooth_is_flat() {
        for seconds in [250, 290, 399] {
            let found = Collections::of(sawtooth(seconds, 100, 0)).unwrap();
            assert_eq!(found.floor_bytes_per_call(), Some(0.0), "{seconds}");
            assert_eq!(found.floor_bytes(), 1_000_000, "{seconds}");
            assert_eq!(found.linear_bytes_per_call(), Some(0.0), "{seconds}");
        }
    }

    #[test]
    fn a_rising_floor_grows_between_collections_too() {
        let found = Collections::of(sawtooth(250, 100, 200_000)).unwrap();
        assert_eq!(found.falls(), 2);
        // 200,000 bytes in 100 seconds of ten calls.
        assert_eq!(found.floor_bytes_per_call(), Some(200.0));
        assert_eq!(found.floor_bytes(), 1_400_000 + 49 * CALLS * 200);
        // Right after a collection, no more is live than the floor.
        let found = Collections::of(sawtooth(301, 100, 200_000)).unwrap();
        assert_eq!(found.floor_bytes(), 1_600_000);
    }

    #[test]
    fn before_the_second_collection_the_growth_is_unknown() {
        assert_eq!(Collections::of(sawtooth(99, 100, 0)), None);
        let found = Collections::of(sawtooth(199, 100, 0)).unwrap();
        assert_eq!(found.floor_bytes_per_call(), None);
        assert_eq!(found.floor_bytes(), 1_000_000);
        assert_eq!(Collections::of(samples([])), None);
    }

    #[test]
    fn a_collector_that_waits_longer_each_time_is_followed() {
        // The heap doubles before each collection: periods of 20, 40, 80, 160 and 320 seconds.
        let (mut live, mut threshold) = (vec![1_000_000], 2_000_000);
        for _ in 1..900 {
            let next = live.last().unwrap() + 50_000;
            if next > threshold {
                live.push(1_000_000);
                threshold *= 2;
            } else {
                live.push(next);
            }
        }
        for seconds in 30..live.len() {
            let found = Collections::of(samples(live.iter().copied().take(seconds))).unwrap();
            assert_eq!(found.floor_bytes(), 1_000_000, "{seconds}");
            assert!(found.floor_bytes_per_call().unwrap_or_default() <= 0.0);
        }
    }

    #[test]
    fn a_heap_that_grows_on_after_one_fall_is_not_collected() {
        let fall_and_leak = |seconds: u64| {
            samples((0..seconds).map(|n| (n + 200) * 50_000 - (n / 30).min(1) * 2_000_000))
        };
        assert!(Collections::of(fall_and_leak(100)).is_some());
        assert_eq!(Collections::of(fall_and_leak(200)), None);
    }

    #[test]
    fn floors_between_samples_are_no_growth() {
        // A collection every 3.7 seconds: the samples after it are too high by up to a second's
        // garbage.
        let live = (0..600_u64).map(|n| 1_000_000 + n * 10 % 37 * 100_000);
        let found = Collections::of(samples(live)).unwrap();
        assert!(found.falls() > 100, "{}", found.falls());
        assert_eq!(found.floor_bytes_per_call(), Some(0.0));
        assert!(found.floor_bytes() < 1_200_000, "{}", found.floor_bytes());
    }

    #[test]
    fn a_pause_and_a_slow_fall_change_nothing() {
        let mut slow: Vec<u64> = vec![1_000_000, 2_000_000, 3_000_000, 2_600_000, 1_800_000];
        slow.extend([1_000_500, 2_000_000, 3_000_000, 1_000_000, 1_500_000]);
        let found = Collections::of(samples(slow)).unwrap();
        assert_eq!(found.falls(), 2);
        assert_eq!(found.floor_bytes(), 1_000_000);
        let mut paused = sawtooth(250, 100, 0);
        let last = *paused.last().unwrap();
        let before = Collections::of(paused.iter().copied());
        paused.extend((0..600).map(|n| Sample {
            at: 250 + n,
            ..last
        }));
        assert_eq!(Collections::of(paused), before);
    }

    #[test]
    fn linear_memory_that_grows_under_a_flat_floor_is_measured_at_the_floors() {
        let mut held = sawtooth(450, 100, 0);
        for sample in &mut held {
            sample.linear_bytes += sample.at / 100 * 65_536;
        }
        let found = Collections::of(held).unwrap();
        assert_eq!(found.floor_bytes_per_call(), Some(0.0));
        assert_eq!(found.linear_bytes_per_call(), Some(65.536));
    }
}
