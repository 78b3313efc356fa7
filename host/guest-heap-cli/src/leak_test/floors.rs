//! The smallest sizes of each window, by line.
//!
//! The floor of a line in a window is the smallest number of live bytes that it had after a round
//! of the window. A collector or a cache moves the size up and down; only what is never freed
//! raises the floor of every window.

use std::collections::HashMap;
use std::sync::Arc;

use guest_heap::symbols::Site;
use guest_heap::verdict::{Evidence, FloorSeries, HandleGrowth, LineFloors};

use crate::heap::Heap;

/// The floors of a run.
pub(super) struct Floors {
    windows: usize,
    rounds: u32,
    lines: HashMap<Arc<Site>, Vec<Option<Floor>>>,
    /// Rounds of each window that have been added.
    added: Vec<u32>,
    live: FloorSeries,
    linear: FloorSeries,
    unseen: FloorSeries,
    live_now: u64,
    largest_live: u64,
}

/// The floor of one line in one window.
#[derive(Clone, Copy)]
struct Floor {
    bytes: u64,
    blocks: u64,
    /// Rounds in which the line had an entry. It has none before it allocates.
    rounds: u32,
}

impl Floors {
    pub(super) fn new(windows: u32, rounds: u32) -> Self {
        let windows = windows as usize;
        Self {
            windows,
            rounds,
            lines: HashMap::new(),
            added: vec![0; windows],
            live: FloorSeries::empty(windows),
            linear: FloorSeries::empty(windows),
            unseen: FloorSeries::empty(windows),
            live_now: 0,
            largest_live: 0,
        }
    }

    /// Adds the heap after one round of a window.
    pub(super) fn add(&mut self, window: usize, heap: &Heap) {
        let snapshot = &heap.snapshot;
        for (site, usage) in snapshot.lines() {
            self.add_line(window, site, usage.live_bytes, usage.live_objects);
        }
        let coverage = snapshot.coverage();
        let linear = match coverage.memory_is_known() {
            true => coverage.memory_bytes,
            false => heap.linear_memory,
        };
        self.end_round(
            window,
            snapshot.totals().live_bytes,
            linear,
            heap.unseen_bytes(),
        );
    }

    fn add_line(&mut self, window: usize, site: Arc<Site>, bytes: u64, blocks: u64) {
        let windows = self.windows;
        let floors = self
            .lines
            .entry(site)
            .or_insert_with(|| vec![None; windows]);
        let Some(floor) = floors.get_mut(window) else {
            return;
        };
        let before = floor.unwrap_or(Floor {
            bytes: u64::MAX,
            blocks: u64::MAX,
            rounds: 0,
        });
        *floor = Some(Floor {
            bytes: before.bytes.min(bytes),
            blocks: before.blocks.min(blocks),
            rounds: before.rounds + 1,
        });
    }

    fn end_round(&mut self, window: usize, live: u64, linear: u64, unseen: u64) {
        self.live.add(window, live);
        self.linear.add(window, linear);
        self.unseen.add(window, unseen);
        self.live_now = live;
        self.largest_live = self.largest_live.max(live);
        if let Some(added) = self.added.get_mut(window) {
            *added += 1;
        }
    }

    /// The lines whose floors differ between windows, largest growth first.
    pub(super) fn lines(&self) -> Vec<LineFloors> {
        let series = |floors: &[Option<Floor>], of: fn(&Floor) -> u64| {
            let floors = floors.iter().zip(&self.added);
            // A line without an entry in some round held nothing in it.
            let floors = floors.map(|(floor, added)| match floor {
                Some(floor) if floor.rounds == *added => of(floor),
                _ => 0,
            });
            FloorSeries(floors.collect())
        };
        let mut lines: Vec<LineFloors> = self
            .lines
            .iter()
            .map(|(site, floors)| LineFloors {
                site: site.clone(),
                bytes: series(floors, |floor| floor.bytes),
                blocks: series(floors, |floor| floor.blocks),
            })
            .filter(|line| line.bytes.rising_windows() > 0)
            .collect();
        lines.sort_by(|a, b| {
            let growth = b.bytes.growth().cmp(&a.bytes.growth());
            growth.then_with(|| {
                (&a.site.location, &a.site.function).cmp(&(&b.site.location, &b.site.function))
            })
        });
        lines
    }

    /// Live bytes of all lines.
    pub(super) fn live(&self) -> &FloorSeries {
        &self.live
    }

    /// Bytes of linear memory.
    pub(super) fn linear(&self) -> &FloorSeries {
        &self.linear
    }

    /// Rounds before each window, without the warm-up.
    pub(super) fn rounds(&self) -> Vec<u64> {
        let rounds = u64::from(self.rounds);
        (0..self.windows as u64)
            .map(|window| window * rounds)
            .collect()
    }

    /// What the verdict is based on, without handles. `lines` and `rounds` are those of this run.
    pub(super) fn evidence<'a>(
        &'a self,
        lines: &'a [LineFloors],
        rounds: &'a [u64],
    ) -> Evidence<'a> {
        Evidence {
            calls: rounds,
            lines,
            live: &self.live,
            linear: &self.linear,
            unseen: &self.unseen,
            live_now: self.live_now,
            handles: HandleGrowth::default(),
        }
    }

    /// The most bytes that were live after a round.
    pub(super) fn largest_live(&self) -> u64 {
        self.largest_live
    }

    /// Rounds between the floors of the first and the last window.
    pub(super) fn rounds_between(&self) -> u64 {
        u64::from(self.rounds) * (self.windows as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> Arc<Site> {
        Arc::new(Site {
            location: name.into(),
            function: name.into(),
            file: None,
            line: None,
        })
    }

    /// The floors of a line that has these sizes after the rounds, three rounds for each window.
    fn series_of(sizes: &[u64]) -> FloorSeries {
        let windows = sizes.len() / 3;
        let mut floors = Floors::new(windows as u32, 3);
        for (round, bytes) in sizes.iter().enumerate() {
            if *bytes > 0 {
                floors.add_line(round / 3, site("line"), *bytes, 1);
            }
            floors.end_round(round / 3, *bytes, 65_536, 0);
        }
        let live = floors.live().clone();
        let lines = floors.lines();
        match lines.first() {
            Some(line) => {
                assert_eq!(line.bytes, live);
                line.bytes.clone()
            }
            None => live,
        }
    }

    #[test]
    fn a_leak_raises_every_floor() {
        let leak = series_of(&[8, 16, 24, 32, 40, 48, 56, 64, 72]);
        assert_eq!(leak, FloorSeries(vec![8, 32, 56]));
        assert!(leak.rises() && !leak.slows(&[0, 3, 6]));
        assert_eq!(leak.growth(), 48);
    }

    #[test]
    fn a_sawtooth_does_not() {
        let sawtooth = series_of(&[8, 16, 0, 8, 16, 0, 8, 16, 0]);
        assert_eq!(sawtooth, FloorSeries(vec![0, 0, 0]));
        assert!(!sawtooth.rises());
        // Even if the collector runs at another place in each window.
        assert!(!series_of(&[90, 5, 40, 5, 40, 90, 40, 90, 5]).rises());
    }

    #[test]
    fn a_doubling_buffer_rises_in_some_windows_only() {
        let buffer = series_of(&[8, 8, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32]);
        assert_eq!(buffer, FloorSeries(vec![8, 8, 16, 16]));
        assert!(!buffer.rises());
        assert_eq!(buffer.rising_windows(), 1);
    }

    #[test]
    fn a_cache_that_fills_slows() {
        let cache = series_of(&[80, 90, 95, 120, 130, 135, 140, 141, 142, 150, 151, 152]);
        assert_eq!(cache, FloorSeries(vec![80, 120, 140, 150]));
        assert!(cache.rises() && cache.slows(&[0, 3, 6, 9]));
    }

    #[test]
    fn a_line_counts_as_empty_before_its_first_block() {
        let late = series_of(&[0, 0, 0, 0, 8, 8, 16, 16, 16]);
        assert_eq!(late, FloorSeries(vec![0, 0, 16]));
    }
}
