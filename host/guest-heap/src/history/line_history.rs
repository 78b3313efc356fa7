//! Live bytes by line, once a second, in bounded memory.

mod floors;
mod queries;

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::delta::{self, Delta};
use super::series::{WINDOW, other_site};
use crate::diff::signed_difference;
use crate::snapshot::Usage;
use crate::symbols::Site;

/// Lines with an entry of their own, including [`OTHER`](super::OTHER).
pub const MAX_LINES: usize = 512;
/// Bytes of all encoded differences.
const MAX_DELTA_BYTES: usize = 600_000;
/// The latest intervals, which are never merged.
const UNMERGED_INTERVALS: usize = 30;
/// Bytes of a text. Longer texts are cut, because the guest chooses them.
const MAX_SITE_TEXT_BYTES: usize = 160;
/// Minimum time between two merges of lines, because a merge rewrites the whole window.
const MIN_LINE_MERGE_INTERVAL: Duration = Duration::from_secs(10);

/// Live bytes and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Amount {
    bytes: u64,
    objects: u64,
}

impl Amount {
    fn add(&mut self, other: Amount) {
        self.bytes += other.bytes;
        self.objects += other.objects;
    }

    fn apply(&mut self, delta: &Delta) {
        self.bytes = self.bytes.saturating_add_signed(delta.bytes);
        self.objects = self.objects.saturating_add_signed(delta.objects);
    }
}

#[derive(Debug)]
struct TrackedLine {
    site: Arc<Site>,
    /// At the start of the window.
    base: Amount,
    /// At the last reading.
    now: Amount,
}

/// The changes between two consecutive kept readings.
#[derive(Debug)]
struct Interval {
    /// Time of the later reading.
    end: Duration,
    /// See [`delta`].
    deltas: Box<[u8]>,
}

/// The window: the amounts at its start, the changes since, and the amounts now.
#[derive(Debug)]
pub(super) struct LineHistory {
    /// Position 0 is the entry [`OTHER`](super::OTHER).
    table: Vec<TrackedLine>,
    /// Positions in `table` by location, without position 0.
    index: HashMap<Arc<str>, u16>,
    /// Time of the first reading in the window.
    base_at: Option<Duration>,
    intervals: VecDeque<Interval>,
    /// Bytes of the encoded differences of all intervals.
    delta_bytes: usize,
    /// Lines are not merged before this time.
    next_line_merge: Duration,
}

impl LineHistory {
    pub(super) fn new() -> Self {
        let other = TrackedLine {
            site: other_site(),
            base: Amount::default(),
            now: Amount::default(),
        };
        Self {
            table: vec![other],
            index: HashMap::new(),
            base_at: None,
            intervals: VecDeque::new(),
            delta_bytes: 0,
            next_line_merge: Duration::ZERO,
        }
    }

    /// Time of the last reading.
    pub(super) fn last(&self) -> Option<Duration> {
        self.intervals
            .back()
            .map(|interval| interval.end)
            .or(self.base_at)
    }

    pub(super) fn push(&mut self, now: Duration, lines: HashMap<Arc<Site>, Usage>) {
        let live = lines
            .into_iter()
            .filter(|(_, usage)| usage.live_objects > 0);
        let live: Vec<(Arc<Site>, Amount)> = live
            .map(|(site, usage)| {
                (
                    site,
                    Amount {
                        bytes: usage.live_bytes,
                        objects: usage.live_objects,
                    },
                )
            })
            .collect();
        self.add_lines(now, &live);
        let mut values = vec![Amount::default(); self.table.len()];
        for (site, amount) in &live {
            let line = self
                .index
                .get(key(&site.location))
                .copied()
                .unwrap_or_default();
            if let Some(value) = values.get_mut(usize::from(line)) {
                value.add(*amount);
            }
        }
        let first = self.base_at.is_none();
        let mut deltas = Vec::new();
        for ((line, entry), value) in (0..).zip(&mut self.table).zip(values) {
            if first {
                entry.base = value;
            } else if entry.now != value {
                let bytes = signed_difference(value.bytes, entry.now.bytes);
                let objects = signed_difference(value.objects, entry.now.objects);
                deltas.push(Delta {
                    line,
                    bytes,
                    objects,
                });
            }
            entry.now = value;
        }
        if first {
            self.base_at = Some(now);
            return;
        }
        let deltas = delta::encode(&deltas);
        self.delta_bytes += deltas.len();
        self.intervals.push_back(Interval { end: now, deltas });
        self.expire(now);
        while self.delta_bytes > MAX_DELTA_BYTES && self.merge_intervals() {}
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let texts = |site: &Site| {
            let header = 2 * size_of::<usize>();
            site.location.len()
                + site.function.len()
                + site.file.as_ref().map_or(0, |file| file.len())
                + 4 * header
        };
        let sites: usize = self
            .table
            .iter()
            .map(|line| size_of::<Site>() + texts(&line.site))
            .sum();
        sites
            + self.table.capacity() * size_of::<TrackedLine>()
            // A hash table uses at most seven eighths of its slots.
            + self.index.capacity() * 8 / 7 * (size_of::<(Arc<str>, u16)>() + 1)
            + self.intervals.capacity() * size_of::<Interval>()
            + self.delta_bytes
    }

    /// Gives new lines an entry, largest first, as long as there is room.
    fn add_lines(&mut self, now: Duration, live: &[(Arc<Site>, Amount)]) {
        let mut new: Vec<&(Arc<Site>, Amount)> = live
            .iter()
            .filter(|(site, _)| !self.index.contains_key(key(&site.location)))
            .collect();
        if new.is_empty() {
            return;
        }
        new.sort_by_key(|(_, amount)| Reverse(amount.bytes));
        if self.table.len() + new.len() > MAX_LINES && now >= self.next_line_merge {
            self.next_line_merge = now + MIN_LINE_MERGE_INTERVAL;
            self.merge_lines(&new);
        }
        for (site, _) in new {
            if self.table.len() == MAX_LINES {
                return;
            }
            let location = key(&site.location);
            if !self.index.contains_key(location) {
                let site = bounded(site);
                self.index
                    .insert(Arc::clone(&site.location), self.table.len() as u16);
                self.table.push(TrackedLine {
                    site,
                    base: Amount::default(),
                    now: Amount::default(),
                });
            }
        }
    }

    /// Merges lines into [`OTHER`](super::OTHER), over the whole window: lines without live bytes,
    /// and the lines that larger new lines replace.
    fn merge_lines(&mut self, new: &[&(Arc<Site>, Amount)]) {
        let weight = |line: &TrackedLine| line.base.bytes.max(line.now.bytes);
        let mut by_weight: Vec<(usize, u64)> =
            self.table.iter().map(weight).enumerate().skip(1).collect();
        by_weight.sort_by_key(|(_, weight)| *weight);
        let new_bytes = new
            .iter()
            .map(|(_, amount)| amount.bytes)
            .chain(std::iter::repeat(0));
        let mut merged = vec![false; self.table.len()];
        let mut any = false;
        for ((line, weight), new) in by_weight.into_iter().zip(new_bytes) {
            if (weight == 0 || weight < new)
                && let Some(merge) = merged.get_mut(line)
            {
                *merge = true;
                any = true;
            }
        }
        if !any {
            return;
        }
        let mut kept: Vec<TrackedLine> = Vec::with_capacity(MAX_LINES);
        let mut moved: Vec<u16> = Vec::with_capacity(self.table.len());
        for (line, merge) in std::mem::take(&mut self.table).into_iter().zip(merged) {
            match kept.first_mut().filter(|_| merge) {
                Some(other) => {
                    other.base.add(line.base);
                    other.now.add(line.now);
                    moved.push(0);
                }
                None => {
                    moved.push(kept.len() as u16);
                    kept.push(line);
                }
            }
        }
        self.table = kept;
        self.index = (0..)
            .zip(&self.table)
            .skip(1)
            .map(|(line, entry)| (Arc::clone(&entry.site.location), line))
            .collect();
        self.delta_bytes = 0;
        for interval in &mut self.intervals {
            let renumbered: Vec<Delta> = delta::decode(&interval.deltas)
                .map(|delta| Delta {
                    line: moved
                        .get(usize::from(delta.line))
                        .copied()
                        .unwrap_or_default(),
                    ..delta
                })
                .collect();
            interval.deltas = delta::encode_sums(renumbered);
            self.delta_bytes += interval.deltas.len();
        }
    }

    /// Drops the intervals that are no longer in the window.
    fn expire(&mut self, now: Duration) {
        let begin = now.saturating_sub(WINDOW);
        while let Some(interval) = self
            .intervals
            .pop_front_if(|interval| interval.end <= begin)
        {
            self.delta_bytes -= interval.deltas.len();
            for delta in delta::decode(&interval.deltas) {
                if let Some(line) = self.table.get_mut(usize::from(delta.line)) {
                    line.base.apply(&delta);
                }
            }
            self.base_at = Some(interval.end);
        }
    }

    /// Merges the two neighbouring intervals that together cover the shortest time, and of several
    /// such pairs the oldest. Thus the loss of resolution spreads over the window. The latest
    /// intervals are not merged. Returns false when no pair is left to merge.
    fn merge_intervals(&mut self) -> bool {
        let Some(base_at) = self.base_at else {
            return false;
        };
        let begins =
            std::iter::once(base_at).chain(self.intervals.iter().map(|interval| interval.end));
        let ends = self.intervals.iter().skip(1).map(|interval| interval.end);
        let spans = begins.zip(ends).map(|(begin, end)| end - begin);
        let mergeable = self.intervals.len().saturating_sub(UNMERGED_INTERVALS);
        let shortest = spans
            .take(mergeable)
            .enumerate()
            .min_by_key(|(_, span)| *span);
        let Some((earlier, later)) = shortest.and_then(|(position, _)| {
            Some((
                self.intervals.remove(position)?,
                self.intervals.get_mut(position)?,
            ))
        }) else {
            return false;
        };
        self.delta_bytes -= earlier.deltas.len() + later.deltas.len();
        later.deltas = delta::encode_sums(
            delta::decode(&earlier.deltas)
                .chain(delta::decode(&later.deltas))
                .collect(),
        );
        self.delta_bytes += later.deltas.len();
        true
    }
}

/// The key of a line in the index: its location, cut to the maximum length.
fn key(location: &str) -> &str {
    location
        .get(..location.floor_char_boundary(MAX_SITE_TEXT_BYTES))
        .unwrap_or(location)
}

/// A site with its texts cut to the maximum length.
fn bounded(site: &Arc<Site>) -> Arc<Site> {
    let is_short = |text: &str| text.len() <= MAX_SITE_TEXT_BYTES;
    if is_short(&site.location)
        && is_short(&site.function)
        && site.file.as_deref().is_none_or(is_short)
    {
        return Arc::clone(site);
    }
    let cut = |text: &Arc<str>| Arc::from(key(text));
    Arc::new(Site {
        location: cut(&site.location),
        function: cut(&site.function),
        file: site.file.as_ref().map(cut),
        line: site.line,
    })
}
