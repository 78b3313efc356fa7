//! Answers from the window: what was held at a moment, and what came of it.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::{Amount, Line, Lines};
use crate::diff::{Held, signed_difference};
use crate::history::Series;
use crate::history::delta::{self, Delta};
use crate::reading::Context;

impl Lines {
    pub(in crate::history) fn held_now(&self) -> Vec<Held> {
        self.held(self.table.iter().map(|line| line.now))
    }

    /// What was held at the kept moment that lies `ago` or a little more before the last one, and how long ago that is.
    pub(in crate::history) fn held_before(&self, ago: Duration) -> Option<(Vec<Held>, Duration)> {
        let last = self.slots.back()?.at;
        let wanted = last.saturating_sub(ago);
        // The slots after the moment; a merged slot can reach further back than asked for.
        let after = self.slots.partition_point(|slot| slot.at <= wanted);
        let at = match after.checked_sub(1) {
            Some(before) => self.slots.get(before)?.at,
            None => self.base_at?,
        };
        let mut amounts: Vec<Amount> = self.table.iter().map(|line| line.now).collect();
        // The newest first: an amount on its way down must not be stopped at zero by what came before it.
        for delta in self
            .slots
            .range(after..)
            .rev()
            .flat_map(|slot| delta::decode(&slot.deltas))
        {
            if let Some(amount) = amounts.get_mut(usize::from(delta.line)) {
                amount.apply(&Delta {
                    line: delta.line,
                    bytes: -delta.bytes,
                    objects: -delta.objects,
                });
            }
        }
        Some((self.held(amounts.into_iter()), last - at))
    }

    pub(in crate::history) fn series(&self, limit: usize, max_points: usize) -> Vec<Series> {
        let Some(base_at) = self.base_at else {
            return Vec::new();
        };
        let mut chosen: Vec<usize> = (1..self.table.len()).collect();
        let growth = |line: &Line| signed_difference(line.now.bytes, line.base.bytes);
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
        let moments = self.slots.len() + 1;
        let step = moments.div_ceil(max_points.max(1));
        let mut record = |position: usize, at: Duration, amounts: &[Amount], total: u64| {
            // Counted from the end, so that the last moment is always one of the points.
            if !(moments - 1 - position).is_multiple_of(step) {
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
        for (position, slot) in (1..).zip(&self.slots) {
            for delta in delta::decode(&slot.deltas) {
                if let Some(amount) = amounts.get_mut(usize::from(delta.line)) {
                    amount.apply(&delta);
                    total = total.saturating_add_signed(delta.bytes);
                }
            }
            record(position, slot.at, &amounts, total);
        }
        series
    }

    pub(in crate::history) fn covered(&self) -> Duration {
        self.last()
            .zip(self.base_at)
            .map_or(Duration::ZERO, |(last, base)| last - base)
    }

    pub(in crate::history) fn resolution(&self) -> Duration {
        let moments = self
            .base_at
            .into_iter()
            .chain(self.slots.iter().map(|slot| slot.at));
        let later = self.slots.iter().map(|slot| slot.at);
        moments
            .zip(later)
            .map(|(earlier, later)| later - earlier)
            .max()
            .unwrap_or(Duration::from_secs(1))
    }

    fn held(&self, amounts: impl Iterator<Item = Amount>) -> Vec<Held> {
        let lines = self.table.iter().zip(amounts);
        lines
            .map(|(line, amount)| Held {
                context: Context::Synthetic(Arc::clone(&line.site.location)),
                site: Arc::clone(&line.site),
                bytes: amount.bytes,
                objects: amount.objects,
            })
            .collect()
    }
}
