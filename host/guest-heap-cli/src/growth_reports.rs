//! `--every`: reports of what has grown.

use std::time::{Duration, Instant};

use guest_heap::diff::{Baseline, Diff};
use guest_heap::snapshot::GroupBy;

use crate::heap::Heap;
use crate::report;

/// Lines that a report shows.
const GROWING_LINES: usize = 10;

/// Reports of what has grown since the last one.
pub(crate) struct GrowthReports {
    interval: Duration,
    last: Instant,
    started: Instant,
    baseline: Option<Baseline>,
}

impl GrowthReports {
    pub(crate) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            interval,
            last: now,
            started: now,
            baseline: None,
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.last.elapsed() >= self.interval
    }

    /// Prints what has grown since the last report, or since the start.
    pub(crate) fn print(&mut self, heap: &Heap) {
        self.last = Instant::now();
        let baseline = self.baseline.take();
        let baseline = baseline.unwrap_or_else(|| Baseline::empty(&heap.snapshot));
        let diff = Diff::new(&baseline, &heap.snapshot, GroupBy::Line, GROWING_LINES);
        self.baseline = Some(Baseline::new(&heap.snapshot));
        stderr_text!(
            "after {:.1} s, {}",
            self.started.elapsed().as_secs_f64(),
            report::of_growth(&diff, heap)
        );
    }
}
