//! Takes the one-time growth of the host out of the samples of the process.
//!
//! The first page of the console, the first flame graph or a burst of connections makes the host
//! larger once: code that is now resident, symbols, histories, buffers. In a regression over a
//! minute such a step looks like a leak. So the part of the process that is not the plugins' linear
//! memory is cut into pieces of ten seconds. A piece in which it grew by far more, or less, than in
//! the median of the last minute counts with the median. A host that really grows faster moves the
//! median within a minute. The plugins' memory always counts as it is.

use std::time::{Duration, Instant};

use crate::growth::GrowthPoint;

/// The length of a piece.
const PIECE: Duration = Duration::from_secs(10);

/// The pieces of the median: the last minute.
const MEDIAN_PIECES: usize = 6;

/// A piece differs from the median by at least this many bytes, or it counts as it is.
const MIN_STEP_BYTES: f64 = 262_144.0;

/// The process at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessMemory {
    pub(crate) point: GrowthPoint,
    /// The part of its bytes that is the plugins' linear memory.
    pub(crate) guest_bytes: u64,
}

impl ProcessMemory {
    fn host_bytes(&self) -> f64 {
        self.point.bytes as f64 - self.guest_bytes as f64
    }

    fn instant(&self) -> Instant {
        self.point.at.instant
    }
}

/// The points of these samples, oldest first, without one-time growth. The newest point has the
/// bytes of its sample; those before it are moved.
pub(crate) fn without_one_time_growth(samples: &[ProcessMemory]) -> Vec<GrowthPoint> {
    let Some(newest) = samples.last() else {
        return Vec::new();
    };
    let pieces: Vec<&[ProcessMemory]> = samples
        .chunk_by(|a, b| piece_of(a, newest) == piece_of(b, newest))
        .collect();
    // The growth of a piece includes the step to the first sample of the next one.
    let growths: Vec<(f64, Duration)> = (0..pieces.len())
        .filter_map(|index| {
            let first = pieces.get(index)?.first()?;
            let end = match pieces.get(index + 1) {
                Some(next) => next.first()?,
                None => newest,
            };
            let grown = end.host_bytes() - first.host_bytes();
            Some((grown, end.instant() - first.instant()))
        })
        .collect();
    let median = median_rate(&growths);
    let mut points = Vec::with_capacity(samples.len());
    let mut later: Option<(&ProcessMemory, f64)> = None;
    for (piece, (grown, took)) in pieces.iter().zip(&growths).rev() {
        let expected = median * took.as_secs_f64();
        let is_step = (grown - expected).abs() > MIN_STEP_BYTES.max(expected.abs());
        for sample in piece.iter().rev() {
            let bytes = later.map_or(sample.point.bytes as f64, |(later, bytes)| {
                let guest = later.guest_bytes as f64 - sample.guest_bytes as f64;
                let host = if is_step {
                    median * (later.instant() - sample.instant()).as_secs_f64()
                } else {
                    later.host_bytes() - sample.host_bytes()
                };
                bytes - guest - host
            });
            later = Some((sample, bytes));
            points.push(GrowthPoint {
                bytes: bytes.max(0.0) as u64,
                ..sample.point
            });
        }
    }
    points.reverse();
    points
}

/// The number of the piece that a sample is in, counted back from the newest sample.
fn piece_of(sample: &ProcessMemory, newest: &ProcessMemory) -> u128 {
    let age = newest.instant() - sample.instant();
    // The sample at a border begins the later piece.
    age.as_nanos().saturating_sub(1) / PIECE.as_nanos()
}

/// The median of the last pieces, in bytes per second; of two in the middle, the smaller one.
fn median_rate(growths: &[(f64, Duration)]) -> f64 {
    let full = growths.iter().filter(|(_, took)| *took * 2 >= PIECE);
    let last = full.rev().take(MEDIAN_PIECES);
    let mut rates: Vec<f64> = last
        .map(|(grown, took)| grown / took.as_secs_f64())
        .collect();
    rates.sort_by(f64::total_cmp);
    let middle = rates.len().saturating_sub(1) / 2;
    rates.get(middle).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use plugin_host::clock_reading::ClockReading;

    use super::*;
    use crate::growth::{GROWTH_WINDOW, Growth};

    const MIB: u64 = 1 << 20;
    const LIMIT: u64 = 256 * MIB;

    /// One sample per second, with the bytes of the host and of the guests at each.
    fn samples(seconds: u64, bytes: impl Fn(u64) -> (u64, u64)) -> Vec<ProcessMemory> {
        let start = ClockReading::now();
        let sample = |second: u64| {
            let (host, guest_bytes) = bytes(second);
            ProcessMemory {
                point: GrowthPoint {
                    at: ClockReading {
                        instant: start.instant + Duration::from_secs(second),
                        unix_seconds: second as f64,
                    },
                    bytes: host + guest_bytes,
                    requests: 20 * second,
                },
                guest_bytes,
            }
        };
        (0..seconds).map(sample).collect()
    }

    fn forecast(samples: &[ProcessMemory]) -> f64 {
        let growth = Growth::over(without_one_time_growth(samples), GROWTH_WINDOW, None);
        growth.seconds_to_limit(Some(LIMIT)).expect("it grows")
    }

    /// A leak of 100 KB per second.
    fn leak(second: u64) -> u64 {
        100_000 * second
    }

    #[test]
    fn a_step_of_the_host_does_not_move_the_forecast() {
        for (step_seconds, noise) in [(1, 0), (6, 0), (15, 0), (1, 40_000)] {
            for after in [1, 10, 20, 30, 45, 60, 90] {
                let at = 100;
                let host = |second: u64| {
                    let steps = second.saturating_sub(at).min(step_seconds);
                    30 * MIB + 10 * MIB * steps / step_seconds + second * 7 % 3 * noise
                };
                let with = samples(at + after, |s| (host(s), leak(s)));
                let without = samples(at + after, |s| (30 * MIB, leak(s)));
                let (with, without) = (forecast(&with), forecast(&without));
                assert!(
                    (with / without - 1.0).abs() < 0.2,
                    "{after} s after the begin of a step over {step_seconds} s: \
                     {with} s instead of {without} s"
                );
            }
        }
    }

    #[test]
    fn a_leak_that_speeds_up_is_seen_within_a_minute() {
        let faster = |second: u64| leak(second) + 2 * leak(second.saturating_sub(100));
        let of_guest = samples(160, |s| (30 * MIB, faster(s)));
        let of_host = samples(160, |s| (30 * MIB + faster(s), 0));
        for samples in [of_guest, of_host] {
            let left = LIMIT - samples.last().unwrap().point.bytes;
            let expected = left as f64 / 300_000.0;
            let found = forecast(&samples);
            assert!(
                (found / expected - 1.0).abs() < 0.1,
                "{found} s instead of {expected} s"
            );
        }
    }

    #[test]
    fn samples_without_a_step_stay_as_they_are() {
        for seconds in [0, 1, 2, 15, 130] {
            let samples = samples(seconds, |s| (30 * MIB + s * 5_000, leak(s)));
            let points: Vec<_> = samples.iter().map(|sample| sample.point).collect();
            assert_eq!(without_one_time_growth(&samples), points, "{seconds}");
        }
    }

    #[test]
    fn the_newest_point_keeps_its_bytes() {
        let samples = samples(61, |s| (if s < 30 { 30 } else { 40 } * MIB, leak(s)));
        let points = without_one_time_growth(&samples);
        assert_eq!(points.len(), samples.len());
        assert_eq!(points.last(), samples.last().map(|s| &s.point));
        // The step is in the past, so that the process has always been as large.
        assert_eq!(points.first().map(|p| p.bytes), Some(40 * MIB));
    }
}
