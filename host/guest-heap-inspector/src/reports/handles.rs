//! Live handles by type, and by line, function, file or call stack.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use guest_heap::Attribution;
use guest_heap::diff::{Diff, HandleChange};
use guest_heap::snapshot::{GroupBy, HandleGroup};
use serde::Serialize;

use crate::inspector::{GuestHeap, Inspector};
use crate::stack::TraceFrame;

/// The handles in a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct HandlesReport {
    /// Handles that the guests have; `null` if a guest's handles are not counted.
    pub(crate) live: Option<u64>,
    /// Handles that the guests have ever got.
    pub(crate) ever_got: u64,
    /// Most live handles first, without rows that have none.
    pub(crate) rows: Vec<HandleRow>,
    /// What is in no row, as clauses.
    pub(crate) not_counted: Vec<String>,
}

/// The handles of one type of one line, function, file or call stack of one guest.
#[derive(Debug, Serialize)]
pub(crate) struct HandleRow {
    pub(crate) guest: String,
    /// Such as `wasi:io/poll.pollable`.
    #[serde(rename = "type")]
    pub(crate) ty: String,
    pub(crate) location: String,
    pub(crate) function: String,
    pub(crate) live: u64,
    pub(crate) ever_got: u64,
    /// Innermost frame first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trace: Vec<TraceFrame>,
}

/// What has changed in a window that ends now.
#[derive(Debug, Default, Serialize)]
pub(crate) struct HandleChangesReport {
    /// The window: it begins at a minute of the history. 0 if there is nothing to compare with.
    pub(crate) window_seconds: f64,
    /// Largest growth first.
    pub(crate) rows: Vec<HandleChangeRow>,
}

/// The change of the handles of one type of one line of one guest.
#[derive(Debug, Serialize)]
pub(crate) struct HandleChangeRow {
    pub(crate) guest: String,
    #[serde(rename = "type")]
    pub(crate) ty: String,
    pub(crate) location: String,
    pub(crate) change: i64,
    pub(crate) live: u64,
}

impl HandlesReport {
    pub(crate) fn of(heaps: &[Arc<GuestHeap>], by: GroupBy, limit: usize) -> Self {
        let mut report = HandlesReport {
            live: Some(0),
            ever_got: 0,
            rows: Vec::new(),
            not_counted: Vec::new(),
        };
        for heap in heaps {
            let snapshot = &heap.snapshot;
            let live = live(heap);
            report.live = report.live.zip(live).map(|(sum, live)| sum + live);
            report.ever_got += snapshot.made_handles();
            let groups = snapshot.top_handles(by, limit);
            let groups = groups.iter().filter(|group| group.live > 0);
            report.rows.extend(groups.map(|group| row(heap, group)));
            for gap in snapshot.handle_counts().not_counted() {
                if !report.not_counted.contains(&gap) {
                    report.not_counted.push(gap);
                }
            }
        }
        report.rows.sort_by_key(|row| Reverse(row.live));
        report.rows.truncate(limit);
        report
    }

    /// Whether there is nothing to say: no guest has ever got a handle, and all are counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.ever_got == 0 && self.not_counted.is_empty()
    }
}

impl HandleChangesReport {
    /// Compares with the nearest minute of the history. A window that ends in the past has no
    /// handles.
    pub(crate) fn of(
        inspector: &Inspector,
        heaps: &[Arc<GuestHeap>],
        begin_ago: Duration,
        end_ago: Duration,
        limit: usize,
    ) -> Self {
        let mut report = HandleChangesReport::default();
        if end_ago > Duration::ZERO {
            return report;
        }
        for heap in heaps {
            let kept = inspector.history(&heap.guest);
            let Some((baseline, begin_ago)) = kept.lock().baseline(begin_ago) else {
                continue;
            };
            if !baseline.has_handles() {
                continue;
            }
            let diff = Diff::new(&baseline, &heap.snapshot, GroupBy::Line, 0);
            report.window_seconds = report.window_seconds.max(begin_ago.as_secs_f64());
            let rows = diff.handles.iter().map(|change| change_row(heap, change));
            report.rows.extend(rows);
        }
        report.rows.sort_by_key(|row| Reverse(row.change));
        report.rows.truncate(limit);
        report
    }
}

/// Live handles of a guest; `None` if they are not counted.
pub(crate) fn live(heap: &GuestHeap) -> Option<u64> {
    let counts = heap.snapshot.handle_counts();
    let is_off = matches!(heap.attribution, Attribution::Off { .. });
    (counts.are_known() && !is_off).then(|| heap.snapshot.live_handles())
}

fn row(heap: &GuestHeap, group: &HandleGroup) -> HandleRow {
    HandleRow {
        guest: heap.guest.clone(),
        ty: group.ty.to_string(),
        location: group.location.to_string(),
        function: group.site.function.to_string(),
        live: group.live,
        ever_got: group.made,
        trace: TraceFrame::stack(&group.frames),
    }
}

fn change_row(heap: &GuestHeap, change: &HandleChange) -> HandleChangeRow {
    HandleChangeRow {
        guest: heap.guest.clone(),
        ty: change.ty.to_string(),
        location: change.location.to_string(),
        change: change.change,
        live: change.current,
    }
}
