//! Splits the samples of a plugin into windows of calls.

use std::time::Instant;

use guest_heap::verdict::FloorSeries;

use crate::sample_history::PluginSample;
use crate::samples::Sample;

/// Windows of a verdict, as in the leak test of the command.
pub(super) const WINDOWS: usize = 4;

/// Fewer calls are no evidence.
const MIN_CALLS: u64 = 10;

/// Seconds with calls that count, unless the live heap has fallen by itself.
const MAX_ACTIVE_SAMPLES: usize = 61;

/// A live heap that falls by this many bytes and by a tenth has fallen by itself.
const MIN_FALL_BYTES: u64 = 65_536;

/// The floors of the windows.
#[derive(Debug, PartialEq)]
pub(super) struct Windows {
    /// The first sample of each window.
    pub(super) starts: Vec<Instant>,
    /// Calls at the first sample of each window.
    pub(super) calls: Vec<u64>,
    pub(super) live: FloorSeries,
    pub(super) linear: FloorSeries,
    pub(super) unseen: FloorSeries,
    /// The newest sample.
    pub(super) last: PluginSample,
    /// Whether the live heap has fallen by itself.
    pub(super) fell: bool,
    /// Calls of all samples, also of those before the windows.
    pub(super) all_calls: u64,
}

impl Windows {
    /// The windows of these samples, oldest first, all of one instance. Seconds without a call are
    /// left out. `None` while there is too little evidence.
    ///
    /// A heap that falls by itself has a collector, or is a batch. All samples count then, because
    /// one slope of a sawtooth looks like a leak.
    pub(super) fn of(samples: impl Iterator<Item = Sample<PluginSample>>) -> Option<Self> {
        let mut active: Vec<Sample<PluginSample>> = Vec::new();
        let mut fell = false;
        for sample in samples {
            let last = active.last().map(|last| last.value);
            if last.is_some_and(|last| sample.value.requests <= last.requests) {
                continue;
            }
            fell |= last.is_some_and(|last| falls(&last, &sample.value));
            active.push(sample);
        }
        let all_calls = active.last()?.value.requests - active.first()?.value.requests;
        if !fell {
            let old = active.len().saturating_sub(MAX_ACTIVE_SAMPLES);
            active.drain(..old);
        }
        let (first, last) = (active.first()?.value, active.last()?.value);
        if active.len() < WINDOWS || last.requests - first.requests < MIN_CALLS {
            return None;
        }
        let empty = || FloorSeries::empty(WINDOWS);
        let (mut live, mut linear, mut unseen) = (empty(), empty(), empty());
        let (mut starts, mut calls) = (Vec::new(), Vec::new());
        let count = active.len();
        for (index, sample) in active.iter().enumerate() {
            let window = index * WINDOWS / count;
            if starts.len() == window {
                starts.push(sample.at.instant);
                calls.push(sample.value.requests);
            }
            live.add(window, sample.value.heap_live_bytes);
            linear.add(window, sample.value.linear_bytes);
            unseen.add(window, sample.value.unseen_bytes);
        }
        Some(Windows {
            starts,
            calls,
            live,
            linear,
            unseen,
            last,
            fell,
            all_calls,
        })
    }

    /// Calls between the first window and the last.
    pub(super) fn calls_between(&self) -> u64 {
        let first = self.calls.first().copied().unwrap_or_default();
        let last = self.calls.last().copied().unwrap_or_default();
        last.saturating_sub(first).max(1)
    }
}

fn falls(before: &PluginSample, now: &PluginSample) -> bool {
    let fall = before.heap_live_bytes.saturating_sub(now.heap_live_bytes);
    fall >= MIN_FALL_BYTES.max(before.heap_live_bytes / 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plugin_host::clock_reading::ClockReading;

    use super::*;

    /// One sample per second with these requests and live bytes.
    fn windows(samples: impl IntoIterator<Item = (u64, u64)>) -> Option<Windows> {
        let start = ClockReading::now();
        let sample = |(second, (requests, live)): (u64, (u64, u64))| Sample {
            at: ClockReading {
                instant: start.instant + Duration::from_secs(second),
                unix_seconds: second as f64,
            },
            value: PluginSample {
                requests,
                heap_live_bytes: live,
                linear_bytes: 1 << 20,
                ..PluginSample::default()
            },
        };
        Windows::of((0..).zip(samples).map(sample))
    }

    #[test]
    fn seconds_without_a_call_are_no_evidence() {
        // Three seconds of traffic, a minute of silence, three seconds of traffic.
        let traffic = |n: u64| (n * 40, n * 40 * 5000);
        let samples = (0..4).map(traffic);
        let samples = samples.chain((0..60).map(|_| traffic(3)));
        let found = windows(samples.chain((4..8).map(traffic))).unwrap();
        assert_eq!(found.calls, [0, 80, 160, 240]);
        assert!(found.live.rises());
        assert_eq!(found.live.growth(), 240 * 5000);
        assert_eq!(found.calls_between(), 240);
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
    fn the_first_batch_of_a_sawtooth_accuses_nobody() {
        let verdict = |samples: u64| {
            let saw = windows((0..samples).map(|n| (n * 10, n % 10 * 500_000))).unwrap();
            // The allocator asks for memory in the first tooth only.
            let linear = (0..samples).map(|n| (n * 10, n.min(9) * 500_000 + 1));
            let linear = windows(linear).unwrap().live;
            let found = Windows { linear, ..saw };
            super::super::PluginVerdict::of("sawtooth", &found, &[]).verdict
        };
        for samples in 11..60 {
            let found = verdict(samples);
            assert!(!found.is_leak(), "{found:?} after {samples} s");
        }
    }
}
