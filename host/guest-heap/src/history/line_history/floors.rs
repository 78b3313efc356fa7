//! The smallest sizes of each line within windows of the history.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::{Amount, LineHistory, TrackedLine};
use crate::history::delta::{self, Delta};
use crate::verdict::{FloorSeries, LineFloors};

/// The floors of all lines, by their position in the table.
struct Floors {
    bytes: Vec<FloorSeries>,
    blocks: Vec<FloorSeries>,
}

impl LineHistory {
    pub(in crate::history) fn floors(&self, starts: &[Duration]) -> Vec<LineFloors> {
        let (Some(first), Some(base_at)) = (starts.first(), self.base_at) else {
            return Vec::new();
        };
        let before = self
            .intervals
            .partition_point(|interval| interval.end < *first);
        let mut amounts = self.amounts_before(before);
        let mut intervals = self.intervals.range(before..).peekable();
        let empty = || vec![FloorSeries::empty(starts.len()); self.table.len()];
        let mut floors = Floors {
            bytes: empty(),
            blocks: empty(),
        };
        let ends = starts.iter().skip(1).copied().chain([Duration::MAX]);
        for (window, (start, end)) in starts.iter().zip(ends).enumerate() {
            // The first reading of the history has no interval.
            let mut has_reading = base_at >= *start && base_at < end;
            if has_reading {
                floors.add(window, &amounts);
            }
            while let Some(interval) = intervals.next_if(|interval| interval.end < end) {
                apply(&mut amounts, delta::decode(&interval.deltas));
                floors.add(window, &amounts);
                has_reading = true;
            }
            if !has_reading {
                // Nothing has changed since the window before.
                floors.add(window, &amounts);
            }
        }
        self.rising_lines(floors)
    }

    /// The amounts after this many intervals.
    pub(super) fn amounts_before(&self, intervals: usize) -> Vec<Amount> {
        let mut amounts: Vec<Amount> = self.table.iter().map(|line| line.now).collect();
        // Newest interval first: in another order an amount could fall below zero and saturate.
        for interval in self.intervals.range(intervals..).rev() {
            let undo = |delta: Delta| Delta {
                bytes: -delta.bytes,
                objects: -delta.objects,
                ..delta
            };
            apply(&mut amounts, delta::decode(&interval.deltas).map(undo));
        }
        amounts
    }

    /// The lines with a window that is higher than the one before, largest growth first.
    fn rising_lines(&self, floors: Floors) -> Vec<LineFloors> {
        let line =
            |((line, bytes), blocks): ((&TrackedLine, FloorSeries), FloorSeries)| LineFloors {
                site: Arc::clone(&line.site),
                bytes,
                blocks,
            };
        let series = floors.bytes.into_iter();
        let mut lines: Vec<LineFloors> = self
            .table
            .iter()
            .zip(series)
            .zip(floors.blocks)
            // The first entry stands for all lines without an entry.
            .skip(1)
            .map(line)
            .filter(|line| line.bytes.rising_windows() > 0)
            .collect();
        lines.sort_by_key(|line| Reverse(line.bytes.growth()));
        lines
    }
}

impl Floors {
    fn add(&mut self, window: usize, amounts: &[Amount]) {
        for (amount, (bytes, blocks)) in amounts
            .iter()
            .zip(self.bytes.iter_mut().zip(&mut self.blocks))
        {
            bytes.add(window, amount.bytes);
            blocks.add(window, amount.objects);
        }
    }
}

fn apply(amounts: &mut [Amount], deltas: impl Iterator<Item = Delta>) {
    for delta in deltas {
        if let Some(amount) = amounts.get_mut(usize::from(delta.line)) {
            amount.apply(&delta);
        }
    }
}
