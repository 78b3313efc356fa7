//! The regression behind every growth figure, and the time until memory reaches a limit.
//!
//! Growth is the slope of a straight line through the samples of a sliding window, by ordinary
//! least squares: b = Sxy / Sxx with Sxy = Σ(x − x̄)(y − ȳ) and Sxx = Σ(x − x̄)². Bytes per request
//! is the same slope with the cumulative number of requests as x. (Draper and Smith, *Applied
//! Regression Analysis*, 3rd edition, sections 1.2 and 1.4.) The samples are the host's own, so
//! neither a scrape nor a second reader changes the result.
//!
//! **Confidence** is R² × fill. R² = Sxy² / (Sxx · Syy) is the share of the variance that the line
//! explains; it is 1 where nothing varies. Fill is the part of the window that the samples span. A
//! steady leak over a full window has a confidence of 1, pure noise about 0, one step in the middle
//! of a window 0.75. A line fits a step only moderately. The step leaves the window after a minute.
//!
//! **Noise** is three times the residual standard deviation s = √(SSE / (n − 2)), SSE = (1 − R²) ·
//! Syy. Growth is significant when the line rises by more than the noise between the first and the
//! last sample. For evenly spaced samples this means R² > 0.43. A t-test on the slope would be more
//! sensitive. But successive readings are correlated, so it would report ordinary fluctuation as
//! growth.

use std::time::{Duration, Instant};

use plugin_host::clock_reading::ClockReading;

/// The window of every growth figure.
pub(crate) const GROWTH_WINDOW: Duration = Duration::from_secs(60);

/// With fewer samples a forecast would be a guess.
const MIN_FORECAST_SAMPLES: usize = 5;

/// A significant rise is at least this many residual standard deviations.
const NOISE_DEVIATIONS: f64 = 3.0;

/// One sample for the regression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GrowthPoint {
    pub(crate) at: ClockReading,
    /// The measured memory, in bytes.
    pub(crate) bytes: u64,
    /// Requests served by this instance or process. A lower count means a fresh one.
    pub(crate) requests: u64,
}

/// The growth over one window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Growth {
    /// The slope over time. Negative when memory shrinks, zero with fewer than two samples.
    pub bytes_per_second: f64,
    /// The slope over requests. `None` when no request was served within the window.
    pub bytes_per_request: Option<f64>,
    /// The time that the samples span, in seconds: at most the window.
    pub window_seconds: f64,
    /// 0 to 1: R² × fill, where fill is the part of the window that the samples span.
    pub confidence: f64,
    /// The number of samples in the regression.
    pub samples: usize,
    /// Bytes of the newest sample; `None` without samples.
    latest_bytes: Option<u64>,
    significant: bool,
}

impl Growth {
    /// Growth of the points within `window` of the newest one. `points` are oldest first.
    ///
    /// Only points after the last restart count. A restart is `restarted_at` (memory was freed on
    /// purpose, and the drop is not growth) or a fall of the request count (a fresh instance). A
    /// sample at exactly `restarted_at` is included.
    pub(crate) fn over(
        points: impl IntoIterator<Item = GrowthPoint>,
        window: Duration,
        restarted_at: Option<Instant>,
    ) -> Self {
        let mut used: Vec<GrowthPoint> = Vec::new();
        for point in points {
            if restarted_at.is_some_and(|restart| point.at.instant < restart) {
                continue;
            }
            if used
                .last()
                .is_some_and(|last| point.requests < last.requests)
            {
                used.clear();
            }
            used.push(point);
        }
        if let Some(newest) = used.last().map(|last| last.at.instant) {
            used.retain(|point| newest.saturating_duration_since(point.at.instant) <= window);
        }
        Self::of(&used, window)
    }

    /// Growth of a value that has not changed over a full window of this many samples.
    pub(crate) fn flat(bytes: u64, window: Duration, samples: usize) -> Self {
        Self {
            bytes_per_second: 0.0,
            bytes_per_request: None,
            window_seconds: window.as_secs_f64(),
            confidence: 1.0,
            samples,
            latest_bytes: Some(bytes),
            significant: false,
        }
    }

    fn of(points: &[GrowthPoint], window: Duration) -> Self {
        let start = points.first().map(|first| first.at.instant);
        let seconds = |point: &GrowthPoint| {
            start.map_or(0.0, |start| {
                point
                    .at
                    .instant
                    .saturating_duration_since(start)
                    .as_secs_f64()
            })
        };
        let over_time = Line::through(
            points
                .iter()
                .map(|point| (seconds(point), point.bytes as f64)),
        );
        let over_requests = Line::through(
            points
                .iter()
                .map(|point| (point.requests as f64, point.bytes as f64)),
        );
        let span = points.last().map_or(0.0, seconds);
        let fill = if window.is_zero() {
            0.0
        } else {
            (span / window.as_secs_f64()).min(1.0)
        };
        let slope = over_time.map_or(0.0, |line| line.slope);
        Self {
            bytes_per_second: slope,
            bytes_per_request: over_requests.map(|line| line.slope),
            window_seconds: span,
            confidence: over_time.map_or(0.0, |line| line.r_squared * fill),
            samples: points.len(),
            latest_bytes: points.last().map(|last| last.bytes),
            significant: points.len() >= MIN_FORECAST_SAMPLES
                && over_time
                    .is_some_and(|line| slope * span > NOISE_DEVIATIONS * line.residual_deviation),
        }
    }

    /// Whether the rise exceeds the noise. Only a significant rise is shown as growth.
    pub fn is_significant(&self) -> bool {
        self.significant
    }

    /// Seconds until memory reaches `limit_bytes` if the growth continues.
    ///
    /// `None` without a limit, without significant growth, with fewer than five samples, and when
    /// memory has reached the limit already.
    pub(crate) fn seconds_to_limit(&self, limit_bytes: Option<u64>) -> Option<f64> {
        let room = limit_bytes?
            .checked_sub(self.latest_bytes?)
            .filter(|&room| room > 0)?;
        self.significant
            .then(|| room as f64 / self.bytes_per_second)
    }
}

/// A least-squares line.
#[derive(Debug, Clone, Copy)]
struct Line {
    slope: f64,
    r_squared: f64,
    residual_deviation: f64,
}

impl Line {
    /// `None` when x does not vary, because then there is no slope.
    fn through(points: impl ExactSizeIterator<Item = (f64, f64)> + Clone) -> Option<Self> {
        let count = points.len() as f64;
        let (sum_x, sum_y) = points
            .clone()
            .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        // Centred before squaring, because byte counts are large and nearly equal.
        let (sxx, sxy, syy) = points.fold((0.0, 0.0, 0.0), |(sxx, sxy, syy), (x, y)| {
            let (dx, dy) = (x - mean_x, y - mean_y);
            (sxx + dx * dx, sxy + dx * dy, syy + dy * dy)
        });
        if sxx <= 0.0 {
            return None;
        }
        let r_squared = if syy > 0.0 {
            (sxy * sxy / (sxx * syy)).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let freedom = (count - 2.0).max(1.0);
        Some(Self {
            slope: sxy / sxx,
            r_squared,
            residual_deviation: ((1.0 - r_squared) * syy / freedom).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests;
