//! Queries: the lines at one time, the changes since then, and the series.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::{Amount, LineHistory, TrackedLine};
use crate::diff::{LiveUsage, signed_difference};
use crate::history::delta;
use crate::history::series::Series;
use crate::reading::Context;

impl LineHistory {
    /// The live memory of each line at the last reading.
    pub(in crate::history) fn current_entries(&self) -> Vec<LiveUsage> {
        self.entries(self.table.iter().map(|line| line.now))
    }

    /// The live memory of each line at the latest kept reading that is at least `ago` before the
    /// last one, and the time between these two readings.
    pub(in crate::history) fn entries_before(
        &self,
        ago: Duration,
    ) -> Option<(Vec<LiveUsage>, Duration)> {
        let last = self.intervals.back()?.end;
        let wanted = last.saturating_sub(ago);
        // The intervals after that reading. A merged interval can begin earlier than `wanted`.
        let after = self
            .intervals
            .partition_point(|interval| interval.end <= wanted);
        let at = match after.checked_sub(1) {
            Some(before) => self.intervals.get(before)?.end,
            None => self.base_at?,
        };
        let amounts = self.amounts_before(after);
        Some((self.entries(amounts.into_iter()), last - at))
    }

    pub(in crate::history) fn series(&self, limit: usize, max_points: usize) -> Vec<Series> {
        let Some(base_at) = self.base_at else {
            return Vec::new();
        };
        let mut chosen: Vec<usize> = (1..self.table.len()).collect();
        let growth = |line: &TrackedLine| signed_difference(line.now.bytes, line.base.bytes);
        chosen.sort_by_key(|line| {
            Reverse(
                self.table
                    .get(*line)
                    .map(|line| (growth(line), line.now.bytes)),
            )
        });
        chosen.truncate(limit);
        let mut series: Vec<Series> = chosen
            .iter()
            .chain(&[0])
            .filter_map(|line| self.table.get(*line))
            .map(|line| Series {
                site: Arc::clone(&line.site),
                points: Vec::new(),
            })
            .collect();

        let mut amounts: Vec<Amount> = self.table.iter().map(|line| line.base).collect();
        let mut total: u64 = amounts.iter().map(|amount| amount.bytes).sum();
        let readings = self.intervals.len() + 1;
        let readings_per_point = readings.div_ceil(max_points.max(1));
        let mut record = |position: usize, at: Duration, amounts: &[Amount], total: u64| {
            // Counts from the end, so that the last reading is always one of the points.
            if !(readings - 1 - position).is_multiple_of(readings_per_point) {
                return;
            }
            let mut rest = total;
            let values = chosen
                .iter()
                .map(|line| amounts.get(*line).map_or(0, |amount| amount.bytes));
            let mut own = series.iter_mut();
            for (value, series) in values.zip(own.by_ref()) {
                rest = rest.saturating_sub(value);
                series.points.push((at, value));
            }
            if let Some(other) = own.next() {
                other.points.push((at, rest));
            }
        };
        record(0, base_at, &amounts, total);
        for (position, interval) in (1..).zip(&self.intervals) {
            for delta in delta::decode(&interval.deltas) {
                if let Some(amount) = amounts.get_mut(usize::from(delta.line)) {
                    amount.apply(&delta);
                    total = total.saturating_add_signed(delta.bytes);
                }
            }
            record(position, interval.end, &amounts, total);
        }
        series
    }

    pub(in crate::history) fn covered(&self) -> Duration {
        self.last()
            .zip(self.base_at)
            .map_or(Duration::ZERO, |(last, base)| last - base)
    }

    pub(in crate::history) fn resolution(&self) -> Duration {
        let ends = self.intervals.iter().map(|interval| interval.end);
        let later = ends.clone();
        self.base_at
            .into_iter()
            .chain(ends)
            .zip(later)
            .map(|(earlier, later)| later - earlier)
            .max()
            .unwrap_or(Duration::from_secs(1))
    }

    fn entries(&self, amounts: impl Iterator<Item = Amount>) -> Vec<LiveUsage> {
        let lines = self.table.iter().zip(amounts);
        lines
            .map(|(line, amount)| LiveUsage {
                context: Context::Synthetic(Arc::clone(&line.site.location)),
                site: Arc::clone(&line.site),
                bytes: amount.bytes,
                objects: amount.objects,
            })
            .collect()
    }
}
