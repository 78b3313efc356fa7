//! What held memory over the last quarter of an hour, in bounded memory.
//!
//! Two resolutions serve two questions. By line one reading a second is kept, as differences from the second before: growth
//! over time, and what grew since any moment. By call stack one reading a minute is kept: flame graphs of a difference.
//!
//! Bounds. Lines beyond [`MAX_LINES`] are folded, smallest first, into one entry called [`OTHER`]. Differences beyond their
//! budget are merged in time, oldest first, so it is the resolution of the distant past that gives way, never the sums:
//! at every kept moment the lines add up to what was live. Call stacks beyond their budget lose their oldest minutes.

mod checkpoints;
mod delta;
mod lines;

use std::sync::Arc;
use std::time::Duration;

use crate::diff::{Baseline, Diff};
use crate::snapshot::{GroupBy, Snapshot};
use crate::symbols::Site;
use checkpoints::Checkpoints;
use lines::Lines;
pub use lines::MAX_LINES;

/// How far a history reaches back.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);

/// The location of what is not kept line by line.
pub const OTHER: &str = "other";

/// The history of one guest, through all its instances.
#[derive(Debug)]
pub struct History {
    lines: Lines,
    stacks: Checkpoints,
}

/// Live bytes of one line over time.
#[derive(Debug, Clone)]
pub struct Series {
    /// The line; [`OTHER`] for all that have no series of their own.
    pub site: Arc<Site>,
    /// When, on the clock of [`History::push`], and how many bytes were live.
    pub points: Vec<(Duration, u64)>,
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
            lines: Lines::new(),
            stacks: Checkpoints::default(),
        }
    }

    /// Adds a reading, meant to be called once a second. `now` is the time on a clock that never runs backwards, from any
    /// origin; a reading that is not later than the last one is left out.
    pub fn push(&mut self, now: Duration, snapshot: &Snapshot) {
        if self.lines.last().is_some_and(|last| now <= last) {
            return;
        }
        self.lines.push(now, snapshot.lines());
        self.stacks.push(now, snapshot);
    }

    /// What changed over the last `ago`, or over all that is kept when that is less, by line, function or file. Call stacks
    /// are answered by their lines here; [`History::baseline`] has them.
    ///
    /// The second value is the time that the difference really covers. `None` before two readings.
    pub fn since(&self, ago: Duration, by: GroupBy, limit: usize) -> Option<(Diff, Duration)> {
        let by = if by == GroupBy::Trace {
            GroupBy::Line
        } else {
            by
        };
        let (then, covered) = self.lines.held_before(ago)?;
        Some((
            Diff::between(&then, &self.lines.held_now(), by, limit),
            covered,
        ))
    }

    /// The call stacks of the kept reading that is nearest to `ago`, to compare a snapshot with, and how long ago it was.
    pub fn baseline(&self, ago: Duration) -> Option<(Baseline, Duration)> {
        self.stacks.nearest(self.lines.last()?, ago)
    }

    /// The `limit` lines that grew most over the window, and everything else as one series called [`OTHER`], with at most
    /// `max_points` each. At every point the series add up to what was live.
    pub fn series(&self, limit: usize, max_points: usize) -> Vec<Series> {
        self.lines.series(limit, max_points)
    }

    /// How far back the history reaches now.
    pub fn covered(&self) -> Duration {
        self.lines.covered()
    }

    /// The largest distance of two kept readings by line: a second, unless the guest's lines changed so much that older
    /// readings had to be merged, or readings were not taken.
    pub fn resolution(&self) -> Duration {
        self.lines.resolution()
    }

    /// Bytes held, by capacity. Never above 2 MiB.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.lines.memory_bytes() + self.stacks.memory_bytes()
    }
}
