//! The history of a guest's heap over the last 15 minutes, in bounded memory.
//!
//! A history has two resolutions:
//!
//! - One reading per second by line, stored as differences. It shows growth over time, and what has
//!   grown since any second.
//! - One reading per minute by call stack. It is the baseline of flame graphs of a difference.
//!
//! These are the bounds:
//!
//! - When there are more than [`MAX_LINES`] lines, the smallest ones are merged into one entry with
//!   the location [`OTHER`].
//! - When the differences exceed their budget, neighbouring readings are merged, oldest first. Only
//!   the resolution of the past suffers: at every kept reading the lines still add up to the live
//!   bytes.
//! - When the call stacks exceed their budget, the oldest minutes are dropped.

mod checkpoints;
mod delta;
mod line_history;
mod series;
mod stacks_before;

use std::time::Duration;

use crate::diff::{Baseline, Diff, LiveUsage};
use crate::snapshot::{GroupBy, Snapshot};
use crate::verdict::LineFloors;
use checkpoints::Checkpoints;
use line_history::LineHistory;
use stacks_before::split_among_stacks;

pub use line_history::MAX_LINES;
pub use series::{OTHER, Series, WINDOW};

/// The history of one guest. It continues when the guest gets a new instance.
#[derive(Debug)]
pub struct History {
    lines: LineHistory,
    stacks: Checkpoints,
}

/// A window of the past that a diff covers. Both times are counted back from the last reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoveredWindow {
    /// How long ago the window began.
    pub begin_ago: Duration,
    /// How long ago it ended. It is never before the begin.
    pub end_ago: Duration,
}

impl CoveredWindow {
    /// The length of the window.
    pub fn length(&self) -> Duration {
        self.begin_ago.saturating_sub(self.end_ago)
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// An empty history.
    pub fn new() -> Self {
        Self {
            lines: LineHistory::new(),
            stacks: Checkpoints::default(),
        }
    }

    /// Adds a reading. Call this once a second.
    ///
    /// `now` is the time on a monotonic clock with any origin. A reading that is not later than the
    /// last one is ignored.
    pub fn push(&mut self, now: Duration, snapshot: &Snapshot) {
        if self.lines.last().is_some_and(|last| now <= last) {
            return;
        }
        self.lines.push(now, snapshot.lines());
        self.stacks.push(now, snapshot);
    }

    /// The changes over the last `ago` by line, function or file. If the history is shorter, it
    /// covers the whole history. [`GroupBy::Trace`] counts as [`GroupBy::Line`]: use
    /// [`History::baseline`] to compare call stacks.
    ///
    /// The second value is the time that the diff really covers. `None` before the second reading.
    pub fn since(&self, ago: Duration, by: GroupBy, limit: usize) -> Option<(Diff, Duration)> {
        let (diff, covered) = self.between(ago, Duration::ZERO, by, limit)?;
        Some((diff, covered.begin_ago))
    }

    /// The changes over a window of the past, from `begin_ago` to `end_ago`, by line, function or
    /// file. Call stacks count as lines, as for [`History::since`]. A window that would end before
    /// it begins is empty.
    ///
    /// The second value is the window that the diff really covers, which begins and ends at kept
    /// readings. `None` before the second reading.
    pub fn between(
        &self,
        begin_ago: Duration,
        end_ago: Duration,
        by: GroupBy,
        limit: usize,
    ) -> Option<(Diff, CoveredWindow)> {
        let by = if by == GroupBy::Trace {
            GroupBy::Line
        } else {
            by
        };
        let (then, begin_ago) = self.lines.entries_before(begin_ago)?;
        let wanted_end = end_ago.min(begin_ago);
        let (later, end_ago) = if wanted_end.is_zero() {
            (self.lines.current_entries(), Duration::ZERO)
        } else {
            self.lines.entries_before(wanted_end)?
        };
        let covered = CoveredWindow { begin_ago, end_ago };
        Some((Diff::between(&then, &later, by, limit), covered))
    }

    /// The call stacks at the kept minute that is nearest to `ago`, as a baseline to compare a
    /// snapshot with. The second value says how long ago that minute was.
    pub fn baseline(&self, ago: Duration) -> Option<(Baseline, Duration)> {
        self.stacks.nearest(self.lines.last()?, ago)
    }

    /// The heap `ago` before the last reading, to compare a snapshot with: its lines are those of
    /// [`History::since`], so that a difference by call stack agrees with the one by line. A line
    /// with several call stacks is split as at the nearest kept minute, or else as in the snapshot.
    ///
    /// The second value is the time that the comparison really covers. `None` before the first
    /// reading. The handles at that time are not known.
    pub fn stacks_before(&self, ago: Duration, now: &Snapshot) -> Option<(Baseline, Duration)> {
        let (lines, covered) = self.lines.entries_before(ago)?;
        let minute = self.baseline(ago).map(|(minute, _)| minute);
        // The call stacks of another build mean nothing in this one.
        let minute = minute.filter(|minute| minute.is_same_build(now));
        let minute = minute.as_ref().map_or(&[][..], Baseline::entries);
        let now_entries: Vec<LiveUsage> = now.entries().iter().map(LiveUsage::from).collect();
        let entries = split_among_stacks(lines, &[minute, &now_entries]);
        Some((Baseline::without_handles(entries, now), covered))
    }

    /// The series of the `limit` lines that have grown most over the window, and one series
    /// [`OTHER`] for all other lines. A series has at most `max_points` points. At every point the
    /// series add up to the live bytes.
    pub fn series(&self, limit: usize, max_points: usize) -> Vec<Series> {
        self.lines.series(limit, max_points)
    }

    /// The smallest sizes of each line in windows, for the lines that rise from a window to the
    /// next, largest growth first. Each window begins at one of `starts`, on the clock of
    /// [`History::push`], and ends where the next begins. A window without a reading has the sizes
    /// of the reading before it.
    pub fn floors(&self, starts: &[Duration]) -> Vec<LineFloors> {
        self.lines.floors(starts)
    }

    /// The time that the history covers now.
    pub fn covered(&self) -> Duration {
        self.lines.covered()
    }

    /// The longest interval between two kept readings by line.
    ///
    /// It is one second, unless a reading was missing, or so many lines changed that older
    /// readings had to be merged.
    pub fn resolution(&self) -> Duration {
        self.lines.resolution()
    }

    /// Bytes of memory that the history takes, by capacity. It never exceeds 2 MiB.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.lines.memory_bytes() + self.stacks.memory_bytes()
    }
}
