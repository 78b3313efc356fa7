//! Live bytes by line, once a second: what is kept, and what gives way when it is too much.

mod read;

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::delta::{self, Delta};
use super::{OTHER, WINDOW};
use crate::diff::signed_difference;
use crate::snapshot::Usage;
use crate::symbols::Site;

/// Lines that are kept apart, [`OTHER`] included.
pub const MAX_LINES: usize = 512;
/// Bytes of all differences together.
const DELTA_BUDGET: usize = 600_000;
/// So many of the latest readings are never merged.
const FINE_SLOTS: usize = 30;
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
    Arc::new(Site {
        location: Arc::clone(&other),
        function: other,
        file: None,
        line: None,
    })
}

impl Lines {
    pub(super) fn new() -> Self {
        let other = Line {
            site: other_site(),
            base: Amount::default(),
            now: Amount::default(),
        };
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
        self.admit(now, &live);
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
        self.encoded += deltas.len();
        self.slots.push_back(Slot { at: now, deltas });
        self.expire(now);
        while self.encoded > DELTA_BUDGET && self.coarsen() {}
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
            + self.table.capacity() * size_of::<Line>()
            // A hash table fills seven eighths of its slots.
            + self.index.capacity() * 8 / 7 * (size_of::<(Arc<str>, u16)>() + 1)
            + self.slots.capacity() * size_of::<Slot>()
            + self.encoded
    }

    /// Gives new lines an entry, the largest first, as far as there is room.
    fn admit(&mut self, now: Duration, live: &[(Arc<Site>, Amount)]) {
        let mut new: Vec<&(Arc<Site>, Amount)> = live
            .iter()
            .filter(|(site, _)| !self.index.contains_key(key(&site.location)))
            .collect();
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
                self.index
                    .insert(Arc::clone(&site.location), self.table.len() as u16);
                self.table.push(Line {
                    site,
                    base: Amount::default(),
                    now: Amount::default(),
                });
            }
        }
    }

    /// Folds lines that hold nothing, and each that a larger newcomer can replace, into [`OTHER`], in the past as well.
    fn make_room(&mut self, new: &[&(Arc<Site>, Amount)]) {
        let weight = |line: &Line| line.base.bytes.max(line.now.bytes);
        let mut by_weight: Vec<(usize, u64)> =
            self.table.iter().map(weight).enumerate().skip(1).collect();
        by_weight.sort_by_key(|(_, weight)| *weight);
        let newcomers = new
            .iter()
            .map(|(_, amount)| amount.bytes)
            .chain(std::iter::repeat(0));
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
        self.index = (0..)
            .zip(&self.table)
            .skip(1)
            .map(|(line, entry)| (Arc::clone(&entry.site.location), line))
            .collect();
        self.encoded = 0;
        for slot in &mut self.slots {
            let renumbered: Vec<Delta> = delta::decode(&slot.deltas)
                .map(|delta| Delta {
                    line: moved
                        .get(usize::from(delta.line))
                        .copied()
                        .unwrap_or_default(),
                    ..delta
                })
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

    /// Merges the two neighbours that cover the shortest time together, the older ones of equals, so that what gives way is
    /// spread over the window; the latest readings stay. False when there is nothing left to merge.
    fn coarsen(&mut self) -> bool {
        let Some(base_at) = self.base_at else {
            return false;
        };
        let begins = std::iter::once(base_at).chain(self.slots.iter().map(|slot| slot.at));
        let ends = self.slots.iter().skip(1).map(|slot| slot.at);
        let spans = begins.zip(ends).map(|(begin, end)| end - begin);
        let mergeable = self.slots.len().saturating_sub(FINE_SLOTS);
        let shortest = spans
            .take(mergeable)
            .enumerate()
            .min_by_key(|(_, span)| *span);
        let Some((earlier, later)) = shortest.and_then(|(position, _)| {
            Some((self.slots.remove(position)?, self.slots.get_mut(position)?))
        }) else {
            return false;
        };
        self.encoded -= earlier.deltas.len() + later.deltas.len();
        later.deltas = delta::sum(
            delta::decode(&earlier.deltas)
                .chain(delta::decode(&later.deltas))
                .collect(),
        );
        self.encoded += later.deltas.len();
        true
    }
}

/// What a line is known by.
fn key(location: &str) -> &str {
    location
        .get(..location.floor_char_boundary(MAX_TEXT))
        .unwrap_or(location)
}

fn bounded(site: &Arc<Site>) -> Arc<Site> {
    let is_short = |text: &str| text.len() <= MAX_TEXT;
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
