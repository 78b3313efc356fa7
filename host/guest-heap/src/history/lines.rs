//! Live bytes by line, once a second.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::delta::{self, Delta};
use super::{OTHER, Series, WINDOW};
use crate::diff::{Held, signed_difference};
use crate::reading::Context;
use crate::snapshot::Usage;
use crate::symbols::Site;

/// Lines that are kept apart, [`OTHER`] included.
pub const MAX_LINES: usize = 512;
/// Bytes of all differences together.
const DELTA_BUDGET: usize = 600_000;
/// Longer names are cut: a guest chooses them.
const MAX_TEXT: usize = 160;
/// Making room rewrites the whole window, so it has to wait this long.
const FOLD_INTERVAL: Duration = Duration::from_secs(10);

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
struct Line {
    site: Arc<Site>,
    /// At the beginning of the window.
    base: Amount,
    /// At the last reading.
    now: Amount,
}

/// The change from one kept moment to the next.
#[derive(Debug)]
struct Slot {
    at: Duration,
    deltas: Box<[u8]>,
}

/// The window: a base, the changes since, and where they lead.
#[derive(Debug)]
pub(super) struct Lines {
    /// Position 0 is [`OTHER`].
    table: Vec<Line>,
    index: HashMap<Arc<str>, u16>,
    base_at: Option<Duration>,
    slots: VecDeque<Slot>,
    /// Bytes of all slots' differences.
    encoded: usize,
    next_fold: Duration,
}

/// What everything that is not kept apart is attributed to.
pub(super) fn other_site() -> Arc<Site> {
    let other: Arc<str> = Arc::from(OTHER);
    Arc::new(Site { location: Arc::clone(&other), function: other, file: None, line: None })
}

impl Lines {
    pub(super) fn new() -> Self {
        let other = Line { site: other_site(), base: Amount::default(), now: Amount::default() };
        Self {
            table: vec![other],
            index: HashMap::new(),
            base_at: None,
            slots: VecDeque::new(),
            encoded: 0,
            next_fold: Duration::ZERO,
        }
    }

    pub(super) fn last(&self) -> Option<Duration> {
        self.slots.back().map(|slot| slot.at).or(self.base_at)
    }

    pub(super) fn push(&mut self, now: Duration, lines: HashMap<Arc<Site>, Usage>) {
        let live = lines.into_iter().filter(|(_, usage)| usage.live_objects > 0);
        let live: Vec<(Arc<Site>, Amount)> = live
            .map(|(site, usage)| (site, Amount { bytes: usage.live_bytes, objects: usage.live_objects }))
            .collect();
        self.admit(now, &live);
        let mut values = vec![Amount::default(); self.table.len()];
        for (site, amount) in &live {
            let line = self.index.get(key(&site.location)).copied().unwrap_or_default();
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
                deltas.push(Delta { line, bytes, objects });
            }
            entry.now = value;
        }
        if first {
            self.base_at = Some(now);
            return;
        }
        let deltas = delta::encode(&deltas);
        self.encoded += deltas.len();
        self.slots.push_back(Slot { at: now, deltas });
        self.expire(now);
        while self.encoded > DELTA_BUDGET && self.coarsen() {}
    }

    pub(super) fn held_now(&self) -> Vec<Held> {
        self.held(self.table.iter().map(|line| line.now))
    }

    /// What was held at the kept moment that lies `ago` or a little more before the last one, and how long ago that is.
    pub(super) fn held_before(&self, ago: Duration) -> Option<(Vec<Held>, Duration)> {
        let last = self.slots.back()?.at;
        let wanted = last.saturating_sub(ago);
        // The slots after the moment; a merged slot can reach further back than asked for.
        let after = self.slots.partition_point(|slot| slot.at <= wanted);
        let at = match after.checked_sub(1) {
            Some(before) => self.slots.get(before)?.at,
            None => self.base_at?,
        };
        let mut amounts: Vec<Amount> = self.table.iter().map(|line| line.now).collect();
        for delta in self.slots.range(after..).flat_map(|slot| delta::decode(&slot.deltas)) {
            if let Some(amount) = amounts.get_mut(usize::from(delta.line)) {
                amount.apply(&Delta { line: delta.line, bytes: -delta.bytes, objects: -delta.objects });
            }
        }
        Some((self.held(amounts.into_iter()), last - at))
    }

    pub(super) fn series(&self, limit: usize, max_points: usize) -> Vec<Series> {
        let Some(base_at) = self.base_at else { return Vec::new() };
        let mut chosen: Vec<usize> = (1..self.table.len()).collect();
        let growth = |line: &Line| signed_difference(line.now.bytes, line.base.bytes);
        chosen.sort_by_key(|line| Reverse(self.table.get(*line).map(|line| (growth(line), line.now.bytes))));
        chosen.truncate(limit);
        let mut series: Vec<Series> = chosen
            .iter()
            .chain(&[0])
            .filter_map(|line| self.table.get(*line))
            .map(|line| Series { site: Arc::clone(&line.site), points: Vec::new() })
            .collect();

        let mut amounts: Vec<Amount> = self.table.iter().map(|line| line.base).collect();
        let mut total: u64 = amounts.iter().map(|amount| amount.bytes).sum();
        let moments = self.slots.len() + 1;
        let step = moments.div_ceil(max_points.max(1));
        let mut record = |position: usize, at: Duration, amounts: &[Amount], total: u64| {
            // Counted from the end, so that the last moment is always one of the points.
            if (moments - 1 - position) % step != 0 {
                return;
            }
            let mut rest = total;
            let values = chosen.iter().map(|line| amounts.get(*line).map_or(0, |amount| amount.bytes));
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

    pub(super) fn covered(&self) -> Duration {
        self.last().zip(self.base_at).map_or(Duration::ZERO, |(last, base)| last - base)
    }

    pub(super) fn resolution(&self) -> Duration {
        let moments = self.base_at.into_iter().chain(self.slots.iter().map(|slot| slot.at));
        let later = self.slots.iter().map(|slot| slot.at);
        moments.zip(later).map(|(earlier, later)| later - earlier).max().unwrap_or(Duration::from_secs(1))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let texts = |site: &Site| {
            let header = 2 * size_of::<usize>();
            site.location.len() + site.function.len() + site.file.as_ref().map_or(0, |file| file.len()) + 4 * header
        };
        let sites: usize = self.table.iter().map(|line| size_of::<Site>() + texts(&line.site)).sum();
        sites
            + self.table.capacity() * size_of::<Line>()
            // A hash table fills seven eighths of its slots.
            + self.index.capacity() * 8 / 7 * (size_of::<(Arc<str>, u16)>() + 1)
            + self.slots.capacity() * size_of::<Slot>()
            + self.encoded
    }

    fn held(&self, amounts: impl Iterator<Item = Amount>) -> Vec<Held> {
        let lines = self.table.iter().zip(amounts);
        lines
            .map(|(line, amount)| Held {
                context: Context::Special(Arc::clone(&line.site.location)),
                site: Arc::clone(&line.site),
                bytes: amount.bytes,
                objects: amount.objects,
            })
            .collect()
    }

    /// Gives new lines an entry, the largest first, as far as there is room.
    fn admit(&mut self, now: Duration, live: &[(Arc<Site>, Amount)]) {
        let mut new: Vec<&(Arc<Site>, Amount)> =
            live.iter().filter(|(site, _)| !self.index.contains_key(key(&site.location))).collect();
        if new.is_empty() {
            return;
        }
        new.sort_by_key(|(_, amount)| Reverse(amount.bytes));
        if self.table.len() + new.len() > MAX_LINES && now >= self.next_fold {
            self.next_fold = now + FOLD_INTERVAL;
            self.make_room(&new);
        }
        for (site, _) in new {
            if self.table.len() == MAX_LINES {
                return;
            }
            let location = key(&site.location);
            if !self.index.contains_key(location) {
                let site = bounded(site);
                self.index.insert(Arc::clone(&site.location), self.table.len() as u16);
                self.table.push(Line { site, base: Amount::default(), now: Amount::default() });
            }
        }
    }

    /// Folds lines that hold nothing, and each that a larger newcomer can replace, into [`OTHER`], in the past as well.
    fn make_room(&mut self, new: &[&(Arc<Site>, Amount)]) {
        let weight = |line: &Line| line.base.bytes.max(line.now.bytes);
        let mut by_weight: Vec<(usize, u64)> = self.table.iter().map(weight).enumerate().skip(1).collect();
        by_weight.sort_by_key(|(_, weight)| *weight);
        let newcomers = new.iter().map(|(_, amount)| amount.bytes).chain(std::iter::repeat(0));
        let mut folded = vec![false; self.table.len()];
        let mut any = false;
        for ((line, weight), newcomer) in by_weight.into_iter().zip(newcomers) {
            if (weight == 0 || weight < newcomer)
                && let Some(fold) = folded.get_mut(line)
            {
                *fold = true;
                any = true;
            }
        }
        if !any {
            return;
        }
        let mut kept: Vec<Line> = Vec::with_capacity(MAX_LINES);
        let mut moved: Vec<u16> = Vec::with_capacity(self.table.len());
        for (line, fold) in std::mem::take(&mut self.table).into_iter().zip(folded) {
            match kept.first_mut().filter(|_| fold) {
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
        self.index = (0..).zip(&self.table).skip(1).map(|(line, entry)| (Arc::clone(&entry.site.location), line)).collect();
        self.encoded = 0;
        for slot in &mut self.slots {
            let renumbered: Vec<Delta> = delta::decode(&slot.deltas)
                .map(|delta| Delta { line: moved.get(usize::from(delta.line)).copied().unwrap_or_default(), ..delta })
                .collect();
            slot.deltas = delta::sum(renumbered);
            self.encoded += slot.deltas.len();
        }
    }

    fn expire(&mut self, now: Duration) {
        let begin = now.saturating_sub(WINDOW);
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.at <= begin) {
            self.encoded -= slot.deltas.len();
            for delta in delta::decode(&slot.deltas) {
                if let Some(line) = self.table.get_mut(usize::from(delta.line)) {
                    line.base.apply(&delta);
                }
            }
            self.base_at = Some(slot.at);
        }
    }

    /// Merges each two neighbours of the older half; false when there is nothing left to merge.
    fn coarsen(&mut self) -> bool {
        let older = self.slots.len() / 2;
        if older < 2 {
            return false;
        }
        let mut slots = VecDeque::with_capacity(self.slots.len());
        let mut earlier: Option<Slot> = None;
        for (position, slot) in std::mem::take(&mut self.slots).into_iter().enumerate() {
            match earlier.take() {
                Some(before) => {
                    let deltas = delta::sum(delta::decode(&before.deltas).chain(delta::decode(&slot.deltas)).collect());
                    slots.push_back(Slot { at: slot.at, deltas });
                }
                None if position < older => earlier = Some(slot),
                None => slots.push_back(slot),
            }
        }
        self.slots = slots;
        self.encoded = self.slots.iter().map(|slot| slot.deltas.len()).sum();
        true
    }
}

/// What a line is known by.
fn key(location: &str) -> &str {
    location.get(..location.floor_char_boundary(MAX_TEXT)).unwrap_or(location)
}

fn bounded(site: &Arc<Site>) -> Arc<Site> {
    let is_short = |text: &str| text.len() <= MAX_TEXT;
    if is_short(&site.location) && is_short(&site.function) && site.file.as_deref().is_none_or(is_short) {
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
