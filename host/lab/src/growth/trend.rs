//! Growth whose rate itself grows, such as a leak that doubles every half minute.
//!
//! A straight line is late for such a leak: with one doubling left it says 44 % too much. So the
//! samples are split into parts with a line each. Where every slope is larger than the one before
//! by about the same factor, the rate is v · e^(k·x), and memory gains v / k · (e^(k·x) − 1).
//!
//! The factors have to agree, because a rate that has changed once is a step, not a trend.

use super::GrowthPoint;
use super::line::{Line, NOISE_DEVIATIONS};

/// Parts of the samples. With four, one change of the rate leaves two equal slopes.
const PARTS: usize = 4;

/// Fewer samples in a part have no slope that counts.
const MIN_PART_SAMPLES: usize = 5;

/// The first and the last slope differ by at least this many standard errors.
const MIN_ERRORS: f64 = 5.0;

/// The logarithm of the smallest factor between two parts.
const MIN_LOG_FACTOR: f64 = 0.04;

/// Logarithms of factors agree if they differ from their mean by no more than the noise. The
/// tolerance is at least this share of the mean,
const MIN_TOLERANCE: f64 = 0.5;

/// and at most this one, so that each slope is larger than the one before.
const MAX_TOLERANCE: f64 = 0.85;

/// A rate that grows exponentially.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trend {
    /// The slope at the newest sample.
    pub(super) slope: f64,
    /// The k of e^(k·x).
    pub(super) exponent: f64,
}

impl Trend {
    /// The trend of the longest part of the points, up to the newest one, that has one. `x` is the
    /// place of a point on the axis.
    pub(super) fn of(points: &[GrowthPoint], x: impl Fn(&GrowthPoint) -> f64) -> Option<Self> {
        let mut recent = points;
        while recent.len() >= PARTS * MIN_PART_SAMPLES {
            let trend = Self::of_all(recent, &x);
            if trend.is_some() {
                return trend;
            }
            recent = recent.get(recent.len() / 3..)?;
        }
        None
    }

    fn of_all(points: &[GrowthPoint], x: &impl Fn(&GrowthPoint) -> f64) -> Option<Self> {
        let mut lines = Vec::with_capacity(PARTS);
        let mut deviation = 0.0_f64;
        for part in 0..PARTS {
            let (from, to) = (
                part * points.len() / PARTS,
                (part + 1) * points.len() / PARTS,
            );
            let part = points.get(from..to)?;
            let line = Line::through(part.iter().map(|p| (x(p), p.bytes as f64)))?;
            let sum_x: f64 = part.iter().map(x).sum();
            // The deviation of a few samples is a guess, so that of the parts before counts too.
            deviation = line.residual_deviation.max(deviation);
            let line = Line {
                residual_deviation: deviation,
                ..line
            };
            lines.push((sum_x / part.len() as f64, line));
        }
        let ((first_x, first), (last_x, last)) = (*lines.first()?, *lines.last()?);
        let is_growth =
            |(_, line): &(f64, Line)| line.slope > NOISE_DEVIATIONS * line.slope_error();
        let both = first.slope_error().hypot(last.slope_error());
        if !lines.iter().all(is_growth) || last.slope - first.slope <= MIN_ERRORS * both {
            return None;
        }
        let mean = (last.slope / first.slope).ln() / (PARTS - 1) as f64;
        let mut pairs = lines.iter().zip(lines.iter().skip(1));
        let agrees = |((_, a), (_, b)): (&(f64, Line), &(f64, Line))| {
            let log_error = (a.slope_error() / a.slope).hypot(b.slope_error() / b.slope);
            let tolerance =
                (NOISE_DEVIATIONS * log_error / mean).clamp(MIN_TOLERANCE, MAX_TOLERANCE);
            ((b.slope / a.slope).ln() - mean).abs() <= mean * tolerance
        };
        if mean < MIN_LOG_FACTOR || !pairs.all(agrees) {
            return None;
        }
        let exponent = (last.slope / first.slope).ln() / (last_x - first_x);
        let end = points.last().map(x)?;
        Some(Trend {
            slope: last.slope * (exponent * (end - last_x)).exp(),
            exponent,
        })
    }
}
