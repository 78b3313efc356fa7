//! The smallest numbers of handles in each window of a test or a run, by line and type.

use std::collections::HashMap;
use std::sync::Arc;

use guest_heap::snapshot::{GroupBy, HandleGroup, Snapshot};
use guest_heap::verdict::{FloorSeries, HandleGrowth};

/// The floors of handles.
pub(crate) struct HandleFloors {
    windows: usize,
    /// By location and type.
    lines: HashMap<(Arc<str>, Arc<str>), Line>,
    /// Rounds of each window that have been added.
    added: Vec<u32>,
    largest: u64,
}

struct Line {
    group: HandleGroup,
    /// For each window, the smallest number and the rounds in which the line had an entry.
    floors: Vec<(u64, u32)>,
}

/// The floors of the handles of one type at one line.
pub(crate) struct LineHandles {
    pub(crate) group: HandleGroup,
    pub(crate) floors: FloorSeries,
}

impl HandleFloors {
    pub(crate) fn new(windows: usize) -> Self {
        Self {
            windows,
            lines: HashMap::new(),
            added: vec![0; windows],
            largest: 0,
        }
    }

    /// Adds the handles after one round of a window.
    pub(crate) fn add(&mut self, window: usize, snapshot: &Snapshot) {
        self.largest = self.largest.max(snapshot.live_handles());
        self.add_lines(window, by_line(snapshot));
    }

    /// Adds the handles of all lines, see [`by_line`].
    pub(crate) fn add_lines(&mut self, window: usize, lines: Vec<HandleGroup>) {
        for group in lines {
            let key = (Arc::clone(&group.location), Arc::clone(&group.ty));
            let live = group.live;
            let line = self.lines.entry(key).or_insert_with(|| Line {
                group,
                floors: vec![(u64::MAX, 0); self.windows],
            });
            if let Some((floor, rounds)) = line.floors.get_mut(window) {
                *floor = live.min(*floor);
                *rounds += 1;
            }
        }
        if let Some(added) = self.added.get_mut(window) {
            *added += 1;
        }
    }

    /// The lines whose floors rise from each window to the next, largest growth first.
    /// `rounds` were made before each window.
    pub(crate) fn leaking(&self, rounds: &[u64]) -> Vec<LineHandles> {
        let mut leaking: Vec<LineHandles> = self
            .lines
            .values()
            .map(|line| {
                let floors = line.floors.iter().zip(&self.added);
                // A line without an entry in some round had no handles in it.
                let floors = floors.map(
                    |((floor, rounds), added)| {
                        if rounds == added { *floor } else { 0 }
                    },
                );
                LineHandles {
                    group: line.group.clone(),
                    floors: FloorSeries(floors.collect()),
                }
            })
            .filter(|line| line.floors.rises() && !line.floors.slows(rounds))
            .collect();
        leaking.sort_by(|a, b| {
            let by_growth = b.floors.growth().cmp(&a.floors.growth());
            by_growth.then_with(|| {
                (&a.group.location, &a.group.ty).cmp(&(&b.group.location, &b.group.ty))
            })
        });
        leaking
    }

    /// The most handles that were live after a call of [`add`](Self::add).
    pub(crate) fn largest(&self) -> u64 {
        self.largest
    }
}

/// The handles of each type at each line.
pub(crate) fn by_line(snapshot: &Snapshot) -> Vec<HandleGroup> {
    snapshot.top_handles(GroupBy::Line, usize::MAX)
}

/// What the leaking lines gain together.
pub(crate) fn growth(leaking: &[LineHandles]) -> HandleGrowth {
    HandleGrowth {
        lines: leaking.len(),
        handles: leaking.iter().map(|line| line.floors.growth()).sum(),
    }
}
