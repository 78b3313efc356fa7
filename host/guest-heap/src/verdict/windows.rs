//! Splits the samples of a guest into windows with calls.

use super::{Evidence, FloorSeries, HandleGrowth, LineFloors};

/// Windows of a verdict.
pub const WINDOWS: usize = 4;

/// Fewer calls are no evidence.
const MIN_CALLS: u64 = 10;

/// Samples with calls that count, unless the live heap has fallen by itself.
const MAX_ACTIVE_SAMPLES: usize = 61;

/// A live heap that falls by this many bytes and by a tenth has fallen by itself.
const MIN_FALL_BYTES: u64 = 65_536;

/// What was read of a guest at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<T> {
    /// When it was read, on the clock of the caller.
    pub at: T,
    /// Calls that the guest had served until then.
    pub calls: u64,
    /// Live bytes.
    pub live_bytes: u64,
    /// Bytes of linear memory, without the profiler's own.
    pub linear_bytes: u64,
    /// Bytes by which memory has grown without an allocator entry point.
    pub unseen_bytes: u64,
}

/// The floors of the windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows<T> {
    /// When each window begins.
    pub starts: Vec<T>,
    /// Calls at the first sample of each window.
    pub calls: Vec<u64>,
    /// Floors of the live bytes.
    pub live: FloorSeries,
    /// Floors of the linear memory.
    pub linear: FloorSeries,
    /// Floors of the growth without an allocator entry point.
    pub unseen: FloorSeries,
    /// The newest sample.
    pub last: Sample<T>,
    /// Whether the live heap has fallen by itself.
    pub fell: bool,
    /// Calls of all samples, also of those before the windows.
    pub all_calls: u64,
}

impl<T: Copy> Windows<T> {
    /// The windows of these samples, oldest first, all of one instance. Samples without a call
    /// since the one before are left out. `None` while there is too little evidence: fewer than ten
    /// calls, or than four samples.
    ///
    /// A heap that falls by itself has a collector, or is a batch. All samples count then, because
    /// one slope of a sawtooth looks like a leak. Otherwise the last 61 count.
    pub fn of(samples: impl Iterator<Item = Sample<T>>) -> Option<Self> {
        let mut active: Vec<Sample<T>> = Vec::new();
        let mut fell = false;
        for sample in samples {
            if let Some(last) = active.last() {
                if sample.calls <= last.calls {
                    continue;
                }
                let fall = last.live_bytes.saturating_sub(sample.live_bytes);
                fell |= fall >= MIN_FALL_BYTES.max(last.live_bytes / 10);
            }
            active.push(sample);
        }
        let all_calls = active.last()?.calls - active.first()?.calls;
        if !fell {
            let old = active.len().saturating_sub(MAX_ACTIVE_SAMPLES);
            active.drain(..old);
        }
        let (first, last) = (*active.first()?, *active.last()?);
        if active.len() < WINDOWS || last.calls - first.calls < MIN_CALLS {
            return None;
        }
        let empty = || FloorSeries::empty(WINDOWS);
        let mut windows = Windows {
            starts: Vec::new(),
            calls: Vec::new(),
            live: empty(),
            linear: empty(),
            unseen: empty(),
            last,
            fell,
            all_calls,
        };
        for (index, sample) in active.iter().enumerate() {
            let window = index * WINDOWS / active.len();
            if windows.starts.len() == window {
                windows.starts.push(sample.at);
                windows.calls.push(sample.calls);
            }
            windows.live.add(window, sample.live_bytes);
            windows.linear.add(window, sample.linear_bytes);
            windows.unseen.add(window, sample.unseen_bytes);
        }
        Some(windows)
    }

    /// The evidence, with the floors of the lines in the same windows.
    pub fn evidence<'a>(&'a self, lines: &'a [LineFloors], handles: HandleGrowth) -> Evidence<'a> {
        Evidence {
            calls: &self.calls,
            lines,
            live: &self.live,
            linear: &self.linear,
            unseen: &self.unseen,
            live_now: self.last.live_bytes,
            handles,
        }
    }

    /// Calls between the first window and the last, at least one.
    pub fn calls_between(&self) -> u64 {
        let first = self.calls.first().copied().unwrap_or_default();
        let last = self.calls.last().copied().unwrap_or_default();
        last.saturating_sub(first).max(1)
    }

    /// Calls that were observed.
    pub fn observed_calls(&self) -> u64 {
        let first = self.calls.first().copied().unwrap_or_default();
        self.last.calls.saturating_sub(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sample per second with these calls and live bytes.
    fn windows(samples: impl IntoIterator<Item = (u64, u64)>) -> Option<Windows<u64>> {
        Windows::of((0..).zip(samples).map(|(at, (calls, live_bytes))| Sample {
            at,
            calls,
            live_bytes,
            linear_bytes: 1 << 20,
            unseen_bytes: 0,
        }))
    }

    #[test]
    fn seconds_without_a_call_are_no_evidence() {
        // Three seconds of traffic, a minute of silence, three seconds of traffic.
        let traffic = |n: u64| (n * 40, n * 40 * 5000);
        let samples = (0..4).map(traffic);
        let samples = samples.chain((0..60).map(|_| traffic(3)));
        let found = windows(samples.chain((4..8).map(traffic))).unwrap();
        assert_eq!(found.calls, [0, 80, 160, 240]);
        assert_eq!(found.starts, [0, 2, 64, 66]);
        assert!(found.live.rises());
        assert_eq!(found.live.growth(), 240 * 5000);
        assert_eq!(found.observed_calls(), 280);
    }

    #[test]
    fn few_calls_are_no_evidence() {
        assert_eq!(windows([]), None);
        assert_eq!(windows([(0, 0), (100, 100), (200, 200)]), None);
        assert_eq!(windows((0..8).map(|n| (n, n * 5000))), None);
        assert!(windows((0..8).map(|n| (2 * n, n * 5000))).is_some());
    }

    #[test]
    fn only_the_last_minute_counts() {
        // It leaked for a minute, and then it did not.
        let samples = (0..200).map(|n: u64| (n * 10, n.min(60) * 5000));
        let found = windows(samples).unwrap();
        assert!(!found.live.rises());
        assert_eq!(found.live.growth(), 0);
    }

    #[test]
    fn one_slope_of_a_sawtooth_is_no_leak() {
        // It falls every 100 s; the last minute is one slope.
        let samples = (0..190).map(|n: u64| (n * 10, n % 100 * 50_000));
        let found = windows(samples).unwrap();
        assert!(!found.live.rises(), "{found:?}");
        // A quarter stays at each fall: the floors rise.
        let kept = (0..800).map(|n: u64| (n * 10, n % 100 * 50_000 + n / 100 * 1_250_000));
        assert!(windows(kept).unwrap().live.rises());
    }
}
