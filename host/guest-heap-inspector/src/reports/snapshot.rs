//! Live bytes by line, function, file or call stack.

use std::cmp::Reverse;
use std::sync::Arc;

use guest_heap::snapshot::{Group, GroupBy, GrowthGroup};
use jiff::Timestamp;
use serde::Serialize;

use super::guest::GuestSummary;
use super::handles::HandlesReport;
use crate::inspector::{GuestHeap, Inspector};
use crate::stack::{ResizedBlocks, TraceFrame};

/// The answer of `snapshot`. Sizes are in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotReport {
    /// RFC 3339, UTC.
    pub(crate) timestamp: String,
    /// Of the guests whose blocks are measured; `null` if there is none.
    pub(crate) live_bytes: Option<u64>,
    pub(crate) live_blocks: Option<u64>,
    pub(crate) guests: Vec<GuestSummary>,
    /// Most live bytes first.
    pub(crate) rows: Vec<Row>,
    /// Where linear memory grew, most growth first. Right also where the attribution of blocks is
    /// not exact, but in whole pages of 64 KiB.
    pub(crate) memory_growth: Vec<GrowthRow>,
    /// Resources, streams and futures that the guests have not dropped.
    pub(crate) handles: HandlesReport,
}

/// One line, function, file or call stack of one guest.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) guest: String,
    /// `src/lib.rs:42`, or the name of what has no line.
    pub(crate) location: String,
    pub(crate) function: String,
    pub(crate) live_bytes: u64,
    pub(crate) live_blocks: u64,
    /// The part of the live bytes of all guests in the report, 0 to 1.
    pub(crate) share: f64,
    pub(crate) allocated_bytes: u64,
    pub(crate) allocated_blocks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resized: Option<ResizedBlocks>,
    /// Innermost frame first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trace: Vec<TraceFrame>,
}

/// Growth of linear memory in one line, function, file or call stack.
#[derive(Debug, Serialize)]
pub(crate) struct GrowthRow {
    pub(crate) guest: String,
    pub(crate) location: String,
    pub(crate) function: String,
    pub(crate) bytes: u64,
    /// The part that came without an allocator that the profiler sees.
    pub(crate) unseen_bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trace: Vec<TraceFrame>,
}

impl SnapshotReport {
    /// Takes some milliseconds for large heaps.
    pub(crate) fn of(heaps: &[Arc<GuestHeap>], by: GroupBy, limit: usize) -> Self {
        let measured = || heaps.iter().filter(|heap| heap.measures_blocks());
        let totals = || measured().map(|heap| heap.snapshot.totals());
        let live_bytes: u64 = totals().map(|totals| totals.live_bytes).sum();
        let is_measured = heaps.is_empty() || measured().next().is_some();
        let mut rows = Vec::new();
        let mut memory_growth = Vec::new();
        for heap in heaps {
            let groups = heap.snapshot.top(by, limit);
            rows.extend(groups.iter().map(|group| row(heap, group, live_bytes)));
            let groups = heap.snapshot.top_growth(by, limit);
            memory_growth.extend(groups.iter().map(|group| growth_row(heap, group)));
        }
        rows.sort_by_key(|row| Reverse(row.live_bytes));
        rows.truncate(limit);
        memory_growth.sort_by_key(|row| Reverse(row.bytes));
        memory_growth.truncate(limit);
        SnapshotReport {
            timestamp: Timestamp::now().to_string(),
            live_bytes: is_measured.then_some(live_bytes),
            live_blocks: is_measured.then(|| totals().map(|totals| totals.live_objects).sum()),
            guests: heaps.iter().map(|heap| GuestSummary::of(heap)).collect(),
            rows,
            memory_growth,
            handles: HandlesReport::of(heaps, by, limit),
        }
    }
}

impl SnapshotReport {
    /// The report with the verdicts on the guests.
    pub(crate) fn judged(mut self, inspector: &Inspector) -> Self {
        let guests = self.guests.into_iter();
        self.guests = guests.map(|guest| guest.judged(inspector)).collect();
        self
    }
}

fn row(heap: &GuestHeap, group: &Group, all: u64) -> Row {
    Row {
        guest: heap.guest.clone(),
        location: group.location.to_string(),
        function: group.site.function.to_string(),
        live_bytes: group.usage.live_bytes,
        live_blocks: group.usage.live_objects,
        share: group.usage.live_bytes as f64 / all.max(1) as f64,
        allocated_bytes: group.usage.allocated_bytes,
        allocated_blocks: group.usage.allocated_objects,
        resized: group.resized.as_ref().map(ResizedBlocks::from),
        trace: TraceFrame::stack(&group.frames),
    }
}

fn growth_row(heap: &GuestHeap, group: &GrowthGroup) -> GrowthRow {
    GrowthRow {
        guest: heap.guest.clone(),
        location: group.location.to_string(),
        function: group.site.function.to_string(),
        bytes: group.bytes,
        unseen_bytes: group.unseen_bytes,
        trace: TraceFrame::stack(&group.frames),
    }
}
