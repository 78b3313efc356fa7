//! The smallest size in each window of a run.

use std::sync::Arc;

use crate::symbols::Site;

/// The floor of each window, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloorSeries(pub Vec<u64>);

/// The floors of one line.
#[derive(Debug, Clone, PartialEq)]
pub struct LineFloors {
    /// The line.
    pub site: Arc<Site>,
    /// Live bytes.
    pub bytes: FloorSeries,
    /// Live blocks.
    pub blocks: FloorSeries,
}

impl FloorSeries {
    /// A series without values yet: each floor is larger than all values.
    pub fn empty(windows: usize) -> Self {
        Self(vec![u64::MAX; windows])
    }

    /// Adds a value that was read in a window.
    pub fn add(&mut self, window: usize, value: u64) {
        if let Some(floor) = self.0.get_mut(window) {
            *floor = value.min(*floor);
        }
    }

    /// Whether the floor rises from each window to the next.
    pub fn rises(&self) -> bool {
        self.0.len() > 1 && self.0.is_sorted_by(|a, b| a < b)
    }

    /// The number of windows whose floor is higher than that of the window before.
    pub fn rising_windows(&self) -> usize {
        self.steps().filter(|(a, b)| a < b).count()
    }

    /// The difference between the last floor and the first.
    pub fn growth(&self) -> i64 {
        let value =
            |at: Option<&u64>| at.map_or(0, |value| i64::try_from(*value).unwrap_or(i64::MAX));
        value(self.0.last()) - value(self.0.first())
    }

    /// The floor of the last window; 0 without windows.
    pub fn last(&self) -> u64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// Whether each rise per call is smaller than the one before, and the last at most half of the
    /// first: then something fills up. `calls` are the calls before each window.
    pub fn slows(&self, calls: &[u64]) -> bool {
        let calls = calls.iter().zip(calls.iter().skip(1));
        let rises: Vec<f64> = self
            .steps()
            .zip(calls)
            .map(|((a, b), (from, to))| {
                b.saturating_sub(a) as f64 / to.saturating_sub(*from).max(1) as f64
            })
            .collect();
        let (Some(first), Some(last)) = (rises.first(), rises.last()) else {
            return false;
        };
        rises.len() > 1 && rises.is_sorted_by(|a, b| a > b) && *last <= first / 2.0
    }

    fn steps(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied().zip(self.0.iter().skip(1).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_rises_only_if_every_floor_is_higher() {
        assert!(FloorSeries(vec![1, 2, 3]).rises());
        assert!(!FloorSeries(vec![1, 2, 2]).rises());
        assert!(!FloorSeries(vec![5]).rises(), "one window shows no change");
        assert_eq!(FloorSeries(vec![1, 2, 2, 9]).rising_windows(), 2);
        assert_eq!(FloorSeries(vec![9, 2, 4]).growth(), -5);
    }

    #[test]
    fn a_series_slows_if_each_call_adds_less() {
        let filling = FloorSeries(vec![80, 120, 140, 150]);
        assert!(filling.slows(&[0, 10, 20, 30]));
        assert!(!FloorSeries(vec![1, 2, 3, 4]).slows(&[0, 10, 20, 30]));
        let four_fifths = FloorSeries(vec![0, 10, 19, 27]);
        assert!(!four_fifths.slows(&[0, 1, 2, 3]), "it still grows by 8");
        assert!(
            !FloorSeries(vec![5, 10]).slows(&[0, 1]),
            "one step is no trend"
        );
    }

    #[test]
    fn fewer_calls_are_not_a_cache_that_fills() {
        // The rises halve because the traffic does: 10 bytes per call throughout.
        let series = FloorSeries(vec![0, 400, 600, 700]);
        assert!(!series.slows(&[0, 40, 60, 70]));
        assert!(series.slows(&[0, 40, 80, 120]));
    }
}
