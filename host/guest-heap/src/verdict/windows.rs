//! Splits the samples of a guest into windows with calls.

use super::{Collections, Evidence, FloorSeries, HandleGrowth, LineFloors, Sample, WINDOWS};

/// Fewer calls are no evidence.
const MIN_CALLS: u64 = 10;

/// Samples with calls that count, unless the live heap has fallen by itself.
const MAX_ACTIVE_SAMPLES: usize = 61;

/// The floors of the windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows<T> {
    /// When each window begins.
    pub starts: Vec<T>,
    /// Calls at the first sample of each window.
    pub calls: Vec<u64>,
    /// Floors of the live bytes.
    pub live: FloorSeries,
    /// Floors of the linear memory. If the live heap has fallen by itself, they are those right
    /// after the falls, and there may be fewer of them.
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
    /// A heap that falls by itself has a collector, or is a batch. One slope of a sawtooth looks
    /// like a leak, so all samples up to the last fall count then: a window without a fall has no
    /// floor. Otherwise the last 61 count.
    pub fn of(samples: impl Iterator<Item = Sample<T>>) -> Option<Self> {
        let mut active: Vec<Sample<T>> = Vec::new();
        for sample in samples {
            if active.last().is_none_or(|last| sample.calls > last.calls) {
                active.push(sample);
            }
        }
        let last = *active.last()?;
        let all_calls = last.calls - active.first()?.calls;
        let collections = Collections::of_active(&active);
        match &collections {
            Some(collections) => active.truncate(collections.last_index() + 1),
            None => {
                let old = active.len().saturating_sub(MAX_ACTIVE_SAMPLES);
                active.drain(..old);
            }
        }
        let first = *active.first()?;
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
            fell: collections.is_some(),
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
        if let Some(collections) = &collections {
            windows.linear = collections.linear();
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

    #[test]
    fn a_slope_longer_than_all_windows_before_the_fall_is_no_leak() {
        // It falls every 800 seconds. The history begins 100 seconds before a fall.
        let slow = |kept: u64| {
            let live = move |n: u64| n % 800 * 50_000 + n / 800 * kept;
            move |range: std::ops::Range<u64>| range.map(move |n| (n * 10, live(n)))
        };
        for seconds in [720, 780, 810, 900, 1000] {
            let found = windows(slow(0)(700..700 + seconds)).unwrap();
            assert!(!found.live.rises(), "{seconds} {found:?}");
        }
        // With 10 MB more after each fall, the floors of all windows rise.
        let found = windows(slow(10_000_000)(0..4900)).unwrap();
        assert!(found.live.rises(), "{found:?}");
    }

    #[test]
    fn linear_memory_of_the_first_slope_is_not_held_by_the_allocator() {
        // As a JavaScript engine does it: linear memory follows the first slope, and is used again.
        let sawtooth = |seconds: u64, held: u64| {
            let live = |n: u64| 3_000_000 + n % 40 * 1_500_000;
            Windows::of((0..seconds).map(move |n| Sample {
                at: n,
                calls: n * 30,
                live_bytes: live(n),
                linear_bytes: 8_000_000 + n.min(39) * 1_500_000 + n / 40 * held,
                unseen_bytes: 0,
            }))
            .unwrap()
        };
        for seconds in [42, 60, 79, 81, 300] {
            assert!(!sawtooth(seconds, 0).linear.rises(), "{seconds}");
        }
        assert!(sawtooth(300, 65_536).linear.rises());
    }

    #[test]
    fn a_leak_is_found_soon_after_an_accidental_fall() {
        // The live heap falls once, after 30 seconds, and then leaks.
        let live = |n: u64| (n + 200) * 50_000 - (n / 30).min(1) * 2_000_000;
        let leaks = |seconds: u64| {
            let found = windows((0..seconds).map(|n| (n * 10, live(n)))).unwrap();
            found.live.rises() && found.live.growth() > 1_000_000
        };
        assert!(!leaks(100));
        assert!(leaks(130));
    }
}
