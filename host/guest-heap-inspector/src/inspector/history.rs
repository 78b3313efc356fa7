//! What one guest held in the last 15 minutes.

use std::collections::VecDeque;
use std::time::Duration;

use guest_heap::history::{History, WINDOW};

use super::GuestHeap;

/// Samples of the totals that are kept: about one a second for 15 minutes.
const MAX_SAMPLES: usize = 1802;

/// The totals of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) live_bytes: u64,
    /// `None` if a module defines the memory that is not instrumented.
    pub(crate) linear_bytes: Option<u64>,
    pub(crate) calls: Option<u64>,
}

/// The history of a guest by line and call stack, and that of its totals.
#[derive(Debug, Default)]
pub(crate) struct GuestHistory {
    pub(crate) heap: History,
    samples: VecDeque<Sample>,
}

impl GuestHistory {
    pub(super) fn push(&mut self, heap: &GuestHeap) {
        let at = heap.read_at;
        self.heap.push(at, &heap.snapshot);
        let coverage = heap.snapshot.coverage();
        let sample = Sample {
            at,
            live_bytes: heap.snapshot.totals().live_bytes,
            linear_bytes: coverage.memory_is_known().then_some(coverage.memory_bytes),
            calls: heap.calls,
        };
        // Queries can make several readings in a second. Only the last one is kept, so that the
        // samples reach back as far as the history.
        let second = Duration::from_secs(1);
        let before = self.samples.iter().rev().nth(1);
        if before.is_some_and(|before| at.saturating_sub(before.at) < second) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        while self.samples.len() > MAX_SAMPLES
            || self
                .samples
                .get(1)
                .is_some_and(|second| at.saturating_sub(second.at) > WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// The totals, oldest first.
    pub(crate) fn samples(&self) -> &VecDeque<Sample> {
        &self.samples
    }

    /// The totals of the latest sample that is at least `ago` before the last one, or the oldest.
    pub(crate) fn sample_before(&self, ago: Duration) -> Option<Sample> {
        let wanted = self.samples.back()?.at.saturating_sub(ago);
        let later = self.samples.partition_point(|sample| sample.at <= wanted);
        self.samples.get(later.saturating_sub(1)).copied()
    }
}
