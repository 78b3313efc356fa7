//! The regression behind every growth figure, and the time until memory reaches a limit.
//!
//! Growth is the slope of a straight line through the samples of a sliding window, by ordinary
//! least squares: b = Sxy / Sxx with Sxy = Σ(x − x̄)(y − ȳ) and Sxx = Σ(x − x̄)². Bytes per request
//! is the same slope with the cumulative number of requests as x. (Draper and Smith, *Applied
//! Regression Analysis*, 3rd edition, sections 1.2 and 1.4.) The samples are the host's own, so
//! neither a scrape nor a second reader changes the result.
//!
//! **The part of the window that counts.** A minute that begins before the leak does would give a
//! rate that is far too low. So the regression continues with the last two thirds of its samples
//! while these have another slope, beyond the noise. It keeps all of them where memory has fallen
//! by itself within the window: the rising part of a sawtooth is not growth.
//!
//! **Requests.** Where the line over requests fits as well as the line over time, growth per second
//! is the slope per request times the present request rate. So a pause in the traffic makes the
//! rate zero, and after it the rate is right at once.
//!
//! **A rate that grows.** Where the slope itself grows steadily, the forecast follows that trend:
//! see `trend`.
//!
//! **Confidence** is R² × fill. R² = Sxy² / (Sxx · Syy) is the share of the variance that the line
//! explains; it is 1 where nothing varies. Fill is the part of the window that the samples span. A
//! steady leak over a full window has a confidence of 1, pure noise about 0.
//!
//! **Noise** is three times the residual standard deviation s = √(SSE / (n − 2)), SSE = (1 − R²) ·
//! Syy. Growth is significant when the line rises by more than the noise between the first and the
//! last sample. For evenly spaced samples this means R² > 0.43. A t-test on the slope would be more
//! sensitive. But successive readings are correlated, so it would report ordinary fluctuation as
//! growth.

use std::time::{Duration, Instant};

use plugin_host::clock_reading::ClockReading;

use line::Line;
use trend::Trend;

mod line;
mod trend;

/// The window of every growth figure.
pub(crate) const GROWTH_WINDOW: Duration = Duration::from_secs(60);

/// A rate that doubles within minutes bends one window hardly more than noise does.
pub(crate) const TREND_WINDOWS: u32 = 2;

/// With fewer samples a forecast would be a guess.
const MIN_FORECAST_SAMPLES: usize = 5;

/// The regression over a part of the window has at least this many samples.
const MIN_PART_SAMPLES: usize = 6;

/// Memory that falls by more than this share of its range has fallen by itself.
const MAX_FALL: f64 = 0.25;

/// The request rate is that of the last seconds, if they have enough requests.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Fewer requests than this are too few for a rate.
const MIN_RATE_REQUESTS: f64 = 5.0;

/// The line over requests is used unless R² of the line over time is larger by more than this.
const FIT_TOLERANCE: f64 = 0.02;

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
    /// Growth at the present request rate. Negative when memory shrinks, zero with fewer than two
    /// samples. If the rate itself grows, it is that at the newest sample.
    pub bytes_per_second: f64,
    /// The slope over requests. `None` when no request was served within the window.
    pub bytes_per_request: Option<f64>,
    /// The present request rate, zero in a pause.
    pub requests_per_second: f64,
    /// The time that the samples span, in seconds: at most the window.
    pub window_seconds: f64,
    /// 0 to 1: R² × fill, where fill is the part of the window that the samples span.
    pub confidence: f64,
    /// The number of samples in the regression.
    pub samples: usize,
    /// The k of e^(k·seconds) by which the rate itself grows; zero for a straight line.
    exponent: f64,
    /// Bytes of the newest sample; `None` without samples.
    latest_bytes: Option<u64>,
    significant: bool,
}

impl Growth {
    /// Growth of the points within `window` of the newest one. `points` are oldest first, over
    /// [`TREND_WINDOWS`] windows.
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
        let newest = used.last().map(|last| last.at.instant);
        let start_of = |window: Duration| {
            used.partition_point(|point| {
                newest.is_some_and(|newest| newest.duration_since(point.at.instant) > window)
            })
        };
        let (recent, long) = (start_of(window), start_of(TREND_WINDOWS * window));
        let part = |start: usize| used.get(start..).unwrap_or_default();
        Self::of(part(recent), part(long), window)
    }

    /// Growth of a value that has not changed over a full window of this many samples.
    pub(crate) fn flat(bytes: u64, window: Duration, samples: usize) -> Self {
        Self {
            bytes_per_second: 0.0,
            bytes_per_request: None,
            requests_per_second: 0.0,
            window_seconds: window.as_secs_f64(),
            confidence: 1.0,
            samples,
            exponent: 0.0,
            latest_bytes: Some(bytes),
            significant: false,
        }
    }

    /// `long` is a longer part of the same points, for the trend.
    fn of(points: &[GrowthPoint], long: &[GrowthPoint], window: Duration) -> Self {
        let span = points.last().map_or(0.0, |last| last.seconds_since(points));
        let fill = if window.is_zero() {
            0.0
        } else {
            (span / window.as_secs_f64()).min(1.0)
        };
        let rate = request_rate(points);
        let recent = recent_part(points);
        let over_time = over_time(recent);
        let over_requests = over_requests(recent);
        let fits = |requests: &Line| {
            over_time.is_none_or(|time| requests.r_squared + FIT_TOLERANCE >= time.r_squared)
        };
        let mut exponent = 0.0;
        let (line, bytes_per_second) = match (over_requests.filter(fits), over_time) {
            (Some(line), _) => {
                let trend = trend(long, |point| point.requests as f64);
                exponent = trend.map_or(0.0, |trend| trend.exponent * rate);
                let slope = trend.map_or(line.slope, |trend| trend.slope);
                (Some(line), slope * rate)
            }
            (None, Some(line)) => {
                let trend = trend(long, |point| point.seconds_since(long));
                exponent = trend.map_or(0.0, |trend| trend.exponent);
                (Some(line), trend.map_or(line.slope, |trend| trend.slope))
            }
            (None, None) => (None, 0.0),
        };
        Self {
            bytes_per_second,
            bytes_per_request: over_requests.map(|line| line.slope),
            requests_per_second: rate,
            window_seconds: span,
            confidence: line.map_or(0.0, |line| line.r_squared * fill),
            samples: points.len(),
            exponent,
            latest_bytes: points.last().map(|last| last.bytes),
            significant: points.len() >= MIN_FORECAST_SAMPLES
                && bytes_per_second > 0.0
                && line.is_some_and(|line| line.is_significant()),
        }
    }

    /// Whether the rise exceeds the noise. Only a significant rise is shown as growth.
    pub fn is_significant(&self) -> bool {
        self.significant
    }

    /// No growth, at this request rate.
    #[cfg(test)]
    pub(crate) fn at_rate(requests_per_second: f64) -> Self {
        Self {
            requests_per_second,
            ..Self::default()
        }
    }

    /// The same without a rate where the rise is within the noise. Too few samples to tell keep
    /// their rate.
    pub(crate) fn without_noise(self) -> Self {
        if self.significant || self.samples < MIN_FORECAST_SAMPLES {
            return self;
        }
        self.as_noise()
    }

    /// Growth by this many bytes per request, at the request rate of the samples.
    pub(crate) fn at_bytes_per_request(self, bytes_per_request: f64) -> Self {
        Self {
            bytes_per_second: bytes_per_request * self.requests_per_second,
            bytes_per_request: Some(bytes_per_request),
            exponent: 0.0,
            significant: self.requests_per_second > 0.0,
            ..self
        }
    }

    /// Bytes up to the limit; `None` without a limit or a sample.
    pub(crate) fn room(&self, limit_bytes: Option<u64>) -> Option<u64> {
        Some(limit_bytes?.saturating_sub(self.latest_bytes?))
    }

    /// The same as noise, whatever the samples say.
    pub(crate) fn as_noise(self) -> Self {
        Self {
            bytes_per_second: 0.0,
            bytes_per_request: None,
            significant: false,
            ..self
        }
    }

    /// Seconds until memory reaches `limit_bytes` if the growth continues: 0 at the limit.
    ///
    /// `None` without a limit, without significant growth, and with fewer than five samples.
    pub(crate) fn seconds_to_limit(&self, limit_bytes: Option<u64>) -> Option<f64> {
        let room = self.room(limit_bytes)?;
        if room == 0 {
            return Some(0.0);
        }
        let straight = room as f64 / self.bytes_per_second;
        self.significant.then(|| match self.exponent * straight {
            // A straight line, or nothing to tell it from one.
            bend if bend < 1e-6 => straight,
            bend => straight * bend.ln_1p() / bend,
        })
    }
}

impl GrowthPoint {
    /// Seconds since the first of `points`.
    fn seconds_since(&self, points: &[GrowthPoint]) -> f64 {
        points.first().map_or(0.0, |first| {
            let since = self.at.instant.saturating_duration_since(first.at.instant);
            since.as_secs_f64()
        })
    }
}

fn over_time(points: &[GrowthPoint]) -> Option<Line> {
    Line::through(
        points
            .iter()
            .map(|p| (p.seconds_since(points), p.bytes as f64)),
    )
}

fn over_requests(points: &[GrowthPoint]) -> Option<Line> {
    Line::through(points.iter().map(|p| (p.requests as f64, p.bytes as f64)))
}

/// The last part of the points that has one slope.
fn recent_part(points: &[GrowthPoint]) -> &[GrowthPoint] {
    let mut part = points;
    if has_fallen(points) {
        return points;
    }
    loop {
        let tail = part.get(part.len() / 3..).unwrap_or_default();
        if tail.len() < MIN_PART_SAMPLES {
            return part;
        }
        let changed = [over_time, over_requests].map(|line| match (line(part), line(tail)) {
            (Some(all), Some(tail)) => all.differs_from(&tail),
            // Without requests, the line over time decides.
            _ => true,
        });
        // A pause bends the line over time, and one burst does too.
        if changed.contains(&false) {
            return part;
        }
        part = tail;
    }
}

/// The trend of points that have not fallen.
fn trend(points: &[GrowthPoint], x: impl Fn(&GrowthPoint) -> f64) -> Option<Trend> {
    (!has_fallen(points))
        .then(|| Trend::of(points, x))
        .flatten()
}

/// Whether the bytes have fallen from their highest value so far by a large part of their range.
fn has_fallen(points: &[GrowthPoint]) -> bool {
    let (mut lowest, mut highest, mut fall) = (u64::MAX, 0_u64, 0_u64);
    for point in points {
        lowest = lowest.min(point.bytes);
        highest = highest.max(point.bytes);
        fall = fall.max(highest - point.bytes);
    }
    fall as f64 > MAX_FALL * highest.saturating_sub(lowest) as f64
}

/// Requests per second at the end of the points.
fn request_rate(points: &[GrowthPoint]) -> f64 {
    let Some(last) = points.last() else {
        return 0.0;
    };
    let rate_since = |window: Duration| {
        let recent = |p: &&GrowthPoint| last.at.instant.duration_since(p.at.instant) <= window;
        let first = points.iter().find(recent)?;
        let seconds = last
            .at
            .instant
            .duration_since(first.at.instant)
            .as_secs_f64();
        let requests = last.requests.saturating_sub(first.requests) as f64;
        (seconds > 0.0).then_some((requests / seconds, requests))
    };
    match (rate_since(RATE_WINDOW), rate_since(Duration::MAX)) {
        (Some((rate, requests)), _) if requests >= MIN_RATE_REQUESTS => rate,
        // Too few requests for a rate: a pause, unless there are never more in this time.
        (_, Some((rate, _))) if rate * RATE_WINDOW.as_secs_f64() < 2.0 * MIN_RATE_REQUESTS => rate,
        (recent, _) => recent.map_or(0.0, |(rate, _)| rate),
    }
}

#[cfg(test)]
mod tests;
