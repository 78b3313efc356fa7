//! The live bytes of one plugin over time, and their shape.

/// Readings of one plugin, by time.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    points: Vec<Point>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    at: f64,
    requests: f64,
    live: f64,
}

/// What a series looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It stays within a bound.
    Flat,
    /// It grows to the end.
    Growing,
    /// It grew, and then fell or became slower.
    Passing,
}

/// Growth below this many bytes counts as none.
const NOISE_BYTES: f64 = 96.0 * 1024.0;

impl Series {
    pub(super) fn push(&mut self, at: f64, requests: f64, live: f64) {
        self.points.push(Point { at, requests, live });
    }

    /// The last reading, in bytes; 0 without one.
    pub(super) fn last(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.live)
    }

    /// The readings from `start` on.
    fn since(&self, start: f64) -> Vec<Point> {
        let points = self.points.iter().copied();
        points.filter(|point| point.at >= start).collect()
    }

    /// The largest fall from one reading to the next.
    fn largest_fall(points: &[Point]) -> f64 {
        let falls = points.iter().zip(points.iter().skip(1));
        falls
            .map(|(before, after)| before.live - after.live)
            .fold(0.0, f64::max)
    }

    /// The shape of all readings.
    pub(super) fn shape(&self) -> Shape {
        let points = &self.points;
        let lowest = points
            .iter()
            .map(|point| point.live)
            .fold(f64::INFINITY, f64::min);
        let highest = points.iter().map(|point| point.live).fold(0.0, f64::max);
        if highest - lowest < NOISE_BYTES {
            return Shape::Flat;
        }
        if Self::largest_fall(points) > 0.3 * (highest - lowest) {
            return Shape::Passing;
        }
        // Steps come in at most a tenth of the game, so the last third has several of them.
        let third = points.len() / 3;
        let live = |index: usize| points.get(index).map_or(0.0, |point| point.live);
        let end = points.len().saturating_sub(1);
        let last = live(end) - live(end.saturating_sub(third));
        let middle = live(end.saturating_sub(third)) - live(end.saturating_sub(2 * third));
        match last {
            last if last < NOISE_BYTES && middle < NOISE_BYTES => Shape::Flat,
            last if last < 0.6 * middle || last < NOISE_BYTES => Shape::Passing,
            _ => Shape::Growing,
        }
    }

    /// The time at which it began to grow for good, in seconds: the last one at which it was within
    /// 4 % of the growth above its level before.
    pub(super) fn onset(&self) -> f64 {
        let level = self.plateau();
        let bound = level + (0.04 * (self.last() - level)).max(NOISE_BYTES / 4.0);
        let low = self.points.iter().rev().find(|point| point.live <= bound);
        low.map_or(0.0, |point| point.at)
    }

    /// The level before the growth: the median of the readings between 5 % and 15 % of the time.
    fn plateau(&self) -> f64 {
        let (low, high) = (self.points.len() / 8, self.points.len() / 5);
        let early = self
            .points
            .iter()
            .skip(low)
            .take(high.saturating_sub(low).max(1));
        let mut early: Vec<f64> = early.map(|point| point.live).collect();
        early.sort_by(f64::total_cmp);
        early.get(early.len() / 2).copied().unwrap_or(0.0)
    }

    /// The growth since a time: bytes, and requests.
    pub(super) fn growth(&self, from: f64) -> (f64, f64) {
        let points = self.since(from);
        match (points.first(), points.last()) {
            (Some(first), Some(last)) => (last.live - first.live, last.requests - first.requests),
            _ => (0.0, 0.0),
        }
    }

    /// The growth of the second half since a time, as a multiple of that of the first half.
    pub(super) fn acceleration(&self, from: f64) -> f64 {
        let points = self.since(from);
        let live = |index: usize| points.get(index).map_or(0.0, |point| point.live);
        let (half, end) = (points.len() / 2, points.len().saturating_sub(1));
        (live(end) - live(half)) / (live(half) - live(0)).max(1.0)
    }

    /// The share of the readings since a time at which it did not grow.
    pub(super) fn share_at_rest(&self, from: f64) -> f64 {
        let points = self.since(from);
        let pairs = points.iter().zip(points.iter().skip(1));
        let still = pairs
            .filter(|(before, after)| after.live <= before.live)
            .count();
        still as f64 / points.len().saturating_sub(1).max(1) as f64
    }
}
