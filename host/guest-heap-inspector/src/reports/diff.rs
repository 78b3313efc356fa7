//! What has changed in a window of the past.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use guest_heap::diff::{Change, Diff};
use guest_heap::snapshot::GroupBy;
use serde::Serialize;

use super::handles::HandleChangesReport;
use super::per;
use crate::inspector::{GuestHeap, Inspector};
use crate::query::InvalidParameter;
use crate::stack::{ResizedBlocks, TraceFrame};

/// A window of the past: from so long ago until so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    begin_ago: Duration,
    end_ago: Duration,
}

impl Window {
    /// # Errors
    ///
    /// When the window ends before it begins, or when it is for call stacks and does not end now.
    pub(crate) fn new(
        begin_ago: Duration,
        end_ago: Option<Duration>,
        by: GroupBy,
    ) -> Result<Self, InvalidParameter> {
        let invalid = |accepts| InvalidParameter {
            name: "until",
            accepts,
        };
        match end_ago {
            Some(_) if by == GroupBy::Trace => {
                return Err(invalid("cannot be combined with group_by=trace"));
            }
            Some(end) if end >= begin_ago => return Err(invalid("takes less than since")),
            _ => {}
        }
        Ok(Self {
            begin_ago,
            end_ago: end_ago.unwrap_or_default(),
        })
    }
}

/// The answer of `diff`. Sizes are in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct DiffReport {
    /// The window that is really covered: it begins and ends at readings of the history. With
    /// several guests, the longest.
    pub(crate) window_seconds: f64,
    /// How long ago the window ended.
    pub(crate) ended_seconds_ago: f64,
    /// The change of all rows, not only of the listed ones. `null` if the blocks of no guest are
    /// measured.
    pub(crate) bytes: Option<i64>,
    pub(crate) blocks: Option<i64>,
    pub(crate) bytes_per_second: Option<f64>,
    /// Calls that the guests served in the window; `null` if the host does not count them.
    pub(crate) calls: Option<u64>,
    pub(crate) bytes_per_call: Option<f64>,
    /// The change of linear memory; `null` if it is not known.
    pub(crate) linear_memory_bytes: Option<i64>,
    pub(crate) linear_memory_bytes_per_second: Option<f64>,
    pub(crate) linear_memory_bytes_per_call: Option<f64>,
    /// Largest growth first.
    pub(crate) growing: Vec<ChangeRow>,
    /// Largest reduction first.
    pub(crate) shrinking: Vec<ChangeRow>,
    /// Handles by type and line, since the nearest minute. Empty for a window in the past.
    pub(crate) handles: HandleChangesReport,
}

/// The change of one line, function, file or call stack of one guest.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeRow {
    pub(crate) guest: String,
    pub(crate) location: String,
    pub(crate) function: String,
    pub(crate) bytes: i64,
    pub(crate) blocks: i64,
    pub(crate) bytes_per_second: Option<f64>,
    /// Per call of this guest.
    pub(crate) bytes_per_call: Option<f64>,
    /// At the end of the window.
    pub(crate) live_bytes: u64,
    pub(crate) live_blocks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resized: Option<ResizedBlocks>,
    /// Innermost frame first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trace: Vec<TraceFrame>,
}

/// The change of one guest.
struct GuestDiff {
    diff: Diff,
    length: Duration,
    end_ago: Duration,
    calls: Option<u64>,
    linear: Option<i64>,
}

impl DiffReport {
    /// Compares by the histories of the guests. A line with several call stacks is split among them
    /// as at the nearest minute of the history.
    pub(crate) fn of(
        inspector: &Inspector,
        heaps: &[Arc<GuestHeap>],
        window: Window,
        by: GroupBy,
        limit: usize,
    ) -> Self {
        let mut report = DiffReport {
            window_seconds: 0.0,
            ended_seconds_ago: window.end_ago.as_secs_f64(),
            bytes: heaps.is_empty().then_some(0),
            blocks: heaps.is_empty().then_some(0),
            bytes_per_second: None,
            calls: None,
            bytes_per_call: None,
            linear_memory_bytes: None,
            linear_memory_bytes_per_second: None,
            linear_memory_bytes_per_call: None,
            growing: Vec::new(),
            shrinking: Vec::new(),
            handles: HandleChangesReport::of(
                inspector,
                heaps,
                window.begin_ago,
                window.end_ago,
                limit,
            ),
        };
        for heap in heaps {
            if heap.measures_blocks() {
                report.bytes.get_or_insert(0);
                report.blocks.get_or_insert(0);
            }
            let Some(change) = guest_diff(inspector, heap, window, by, limit) else {
                continue;
            };
            let seconds = change.length.as_secs_f64();
            report.window_seconds = report.window_seconds.max(seconds);
            report.ended_seconds_ago = change.end_ago.as_secs_f64();
            if heap.measures_blocks() {
                *report.bytes.get_or_insert(0) += change.diff.bytes;
                *report.blocks.get_or_insert(0) += change.diff.objects;
            }
            if let Some(bytes) = change.linear {
                *report.linear_memory_bytes.get_or_insert(0) += bytes;
            }
            if let Some(calls) = change.calls {
                *report.calls.get_or_insert(0) += calls;
            }
            let row = |row: &Change| change_row(heap, row, seconds, change.calls);
            report.growing.extend(change.diff.growing.iter().map(row));
            report
                .shrinking
                .extend(change.diff.shrinking.iter().map(row));
        }
        report.growing.sort_by_key(|row| Reverse(row.bytes));
        report.growing.truncate(limit);
        report.shrinking.sort_by_key(|row| row.bytes);
        report.shrinking.truncate(limit);
        let per_second = |bytes: Option<i64>| rate(bytes?, report.window_seconds);
        let per_call = |bytes: Option<i64>| per(bytes?, report.calls?);
        DiffReport {
            bytes_per_second: per_second(report.bytes),
            bytes_per_call: per_call(report.bytes),
            linear_memory_bytes_per_second: per_second(report.linear_memory_bytes),
            linear_memory_bytes_per_call: per_call(report.linear_memory_bytes),
            ..report
        }
    }
}

/// `None` if the guest's history does not reach back beyond the latest reading.
fn guest_diff(
    inspector: &Inspector,
    heap: &GuestHeap,
    window: Window,
    by: GroupBy,
    limit: usize,
) -> Option<GuestDiff> {
    let kept = inspector.history(&heap.guest);
    let (diff, begin_ago, end_ago) = if by == GroupBy::Trace {
        let (baseline, begin_ago) = kept
            .lock()
            .stacks_before(window.begin_ago, &heap.snapshot)?;
        let diff = Diff::new(&baseline, &heap.snapshot, by, limit);
        (diff, begin_ago, Duration::ZERO)
    } else {
        let (begin, end) = (window.begin_ago, window.end_ago);
        let (diff, covered) = kept.lock().between(begin, end, by, limit)?;
        (diff, covered.begin_ago, covered.end_ago)
    };
    let calls = inspector.calls_between(&heap.guest, begin_ago, end_ago);
    Some(GuestDiff {
        linear: inspector.linear_change(&heap.guest, begin_ago, end_ago),
        diff,
        length: begin_ago.saturating_sub(end_ago),
        end_ago,
        calls,
    })
}

fn change_row(heap: &GuestHeap, change: &Change, seconds: f64, calls: Option<u64>) -> ChangeRow {
    ChangeRow {
        guest: heap.guest.clone(),
        location: change.location.to_string(),
        function: change.site.function.to_string(),
        bytes: change.bytes,
        blocks: change.objects,
        bytes_per_second: rate(change.bytes, seconds),
        bytes_per_call: calls.and_then(|calls| per(change.bytes, calls)),
        live_bytes: change.current_bytes,
        live_blocks: change.current_objects,
        resized: change.resized.as_ref().map(ResizedBlocks::from),
        trace: TraceFrame::stack(&change.frames),
    }
}

/// Bytes per second; `None` for a window without a length.
fn rate(bytes: i64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| bytes as f64 / seconds)
}
