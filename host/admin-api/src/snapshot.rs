//! `GET /admin/memory/snapshot` and `GET /admin/memory/history`: live bytes by source line, now and over time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use guest_heap::history::{History, Series};
use guest_heap::snapshot::{Group, GroupBy};
use guest_heap::symbols::Frame;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Lab;
use super::error::{ApiError, ErrorBody};
use super::heap_query::{CheckedQuery, HeapQuery};
use super::leak_status::{attribution_name, attribution_why};
use super::size::mb;
use lab::heap::{PluginHeap, Selection};
use plugin_host::driver::handle::Plugin;

const FILES: usize = 15;
pub(super) const LINES: usize = 20;
/// Points of one series that a picture can show.
const POINTS: usize = 300;

/// What one file holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileRow {
    filename: String,
    size_mb: f64,
    size_bytes: u64,
    /// Objects.
    count: u64,
    plugin: String,
}

/// What one line, function, file or call stack holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LineRow {
    /// `plugins/cache/src/lib.rs:42`: the guest's own innermost source line.
    location: String,
    size_mb: f64,
    size_bytes: u64,
    /// Objects.
    count: u64,
    plugin: String,
    function: String,
    /// The call stack, innermost first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<TraceFrame>,
}

/// One frame of a call stack.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TraceFrame {
    function: String,
    /// `file:line`, if known.
    location: Option<String>,
}

/// The heap of one plugin in short.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeapSummary {
    /// `exact`, `partial` or `off`.
    attribution: &'static str,
    /// Why it is not `exact`.
    attribution_why: Option<String>,
    /// Null without attribution.
    heap_live_mb: Option<f64>,
    heap_live_bytes: Option<u64>,
    /// Live objects; null without attribution.
    objects: Option<u64>,
    /// Call stacks that have allocated.
    contexts: u64,
    /// Allocations that found no call stack of their own.
    overflowed: u64,
    /// Blocks that the profiler could not keep track of.
    lost: u64,
    linear_memory_mb: f64,
    linear_memory_bytes: u64,
    retained_mb: f64,
    retained_bytes: u64,
    /// `running`, `exhausted` or `faulted`: the books of a dead plugin stay readable until it is reset.
    state: &'static str,
    generation: u64,
}

/// Live bytes by source line.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SnapshotBody {
    /// RFC 3339, UTC.
    timestamp: String,
    /// Live bytes of all plugins with attribution.
    total_traced_mb: f64,
    total_traced_bytes: u64,
    /// The most of that, plugin by plugin.
    peak_traced_mb: f64,
    peak_traced_bytes: u64,
    by_file: Vec<FileRow>,
    by_line: Vec<LineRow>,
    plugins: BTreeMap<String, HeapSummary>,
    tip: &'static str,
}

/// Live bytes by source line: what the guests' allocators have handed out and not got back, exactly.
#[utoipa::path(get, path = "/admin/memory/snapshot", tag = "memory", params(HeapQuery),
    responses((status = 200, body = SnapshotBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn snapshot(
    State(lab): State<Arc<Lab>>,
    CheckedQuery(query): CheckedQuery,
) -> Result<Json<SnapshotBody>, ApiError> {
    query.no_comparison()?;
    let (by, limit) = (query.group_by()?, query.limit(LINES)?);
    let plugins = query.plugins(&lab)?;
    Ok(Json(
        of_plugins(&lab, (&plugins, query.asked()), by, limit).await?,
    ))
}

/// The live bytes of these plugins.
pub(super) async fn of_plugins(
    lab: &Lab,
    (plugins, asked): (&[Arc<Plugin>], Selection),
    by: GroupBy,
    limit: usize,
) -> Result<SnapshotBody, ApiError> {
    let heaps = lab.heaps.snapshots(plugins, asked).await?;
    let mut by_file = Vec::new();
    let mut by_line = Vec::new();
    for heap in &heaps {
        let files = heap.snapshot.top(GroupBy::File, FILES.max(limit));
        by_file.extend(
            files
                .into_iter()
                .map(|group| file_row(heap.plugin.id(), &group)),
        );
        let lines = heap.snapshot.top(by, limit);
        by_line.extend(
            lines
                .into_iter()
                .map(|group| line_row(heap.plugin.id(), &group)),
        );
    }
    by_file.sort_by_key(|row| std::cmp::Reverse(row.size_bytes));
    by_file.truncate(FILES);
    by_line.sort_by_key(|row| std::cmp::Reverse(row.size_bytes));
    by_line.truncate(limit);
    let total = heaps.iter().map(|h| h.snapshot.totals().live_bytes).sum();
    let peak = plugins
        .iter()
        .map(|p| p.reading().heap_peak)
        .sum::<u64>()
        .max(total);
    Ok(SnapshotBody {
        timestamp: Timestamp::now().to_string(),
        total_traced_mb: mb(total),
        total_traced_bytes: total,
        peak_traced_mb: mb(peak),
        peak_traced_bytes: peak,
        by_file,
        by_line,
        plugins: plugins
            .iter()
            .map(|p| {
                (
                    p.id().to_owned(),
                    summary(p, heaps.iter().find(|h| h.plugin.id() == p.id())),
                )
            })
            .collect(),
        tip: "GET /admin/memory/diff shows what grew since the last diff; ?since=5m needs no baseline",
    })
}

fn summary(plugin: &Plugin, heap: Option<&PluginHeap>) -> HeapSummary {
    let (details, reading) = (plugin.details(), plugin.reading());
    let totals = heap.map(|h| *h.snapshot.totals());
    HeapSummary {
        attribution: attribution_name(&details.attribution),
        attribution_why: attribution_why(&details.attribution),
        heap_live_mb: totals.map(|t| mb(t.live_bytes)),
        heap_live_bytes: totals.map(|t| t.live_bytes),
        objects: totals.map(|t| t.live_objects),
        contexts: totals.map_or(0, |t| t.contexts),
        overflowed: totals.map_or(0, |t| t.overflowed),
        lost: totals.map_or(0, |t| t.lost),
        linear_memory_mb: mb(reading.linear.bytes),
        linear_memory_bytes: reading.linear.bytes,
        retained_mb: mb(reading.retained.bytes),
        retained_bytes: reading.retained.bytes,
        state: details.state.name(),
        generation: reading.generation,
    }
}

fn file_row(plugin: &str, group: &Group) -> FileRow {
    FileRow {
        filename: group.location.to_string(),
        size_mb: mb(group.usage.live_bytes),
        size_bytes: group.usage.live_bytes,
        count: group.usage.live_objects,
        plugin: plugin.to_owned(),
    }
}

/// A group as a row.
pub(super) fn line_row(plugin: &str, group: &Group) -> LineRow {
    LineRow {
        location: group.location.to_string(),
        size_mb: mb(group.usage.live_bytes),
        size_bytes: group.usage.live_bytes,
        count: group.usage.live_objects,
        plugin: plugin.to_owned(),
        function: group.site.function.to_string(),
        trace: trace(&group.frames),
    }
}

/// A call stack as JSON.
pub(super) fn trace(frames: &[Frame]) -> Vec<TraceFrame> {
    let location = |frame: &Frame| Some(format!("{}:{}", frame.file.as_ref()?, frame.line?));
    frames
        .iter()
        .map(|frame| TraceFrame {
            function: frame.function.to_string(),
            location: location(frame),
        })
        .collect()
}

/// Live bytes of one line over time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SeriesRow {
    plugin: String,
    /// `other` for all lines that have no series of their own.
    location: String,
    /// Seconds since 1970-01-01T00:00:00Z, and live bytes.
    #[schema(value_type = Vec<Vec<f64>>)]
    points: Vec<(f64, u64)>,
}

/// Live bytes by source line over the last fifteen minutes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryBody {
    /// How far back it reaches.
    window_seconds: f64,
    /// The finest distance of two points.
    resolution_seconds: f64,
    /// The lines that grew most, then the others as one.
    series: Vec<SeriesRow>,
}

/// Live bytes by source line over the last fifteen minutes, from one reading a second.
#[utoipa::path(get, path = "/admin/memory/history", tag = "memory", params(HeapQuery),
    responses((status = 200, body = HistoryBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn history(
    State(lab): State<Arc<Lab>>,
    CheckedQuery(query): CheckedQuery,
) -> Result<Json<HistoryBody>, ApiError> {
    query.no_comparison()?;
    let limit = query.limit(10)?;
    let (now, unix) = (
        lab.heaps.now(),
        Timestamp::now().as_millisecond() as f64 / 1e3,
    );
    let (mut covered, mut resolution) = (Duration::ZERO, Duration::ZERO);
    let mut series = Vec::new();
    for plugin in query.plugins(&lab)? {
        let of_plugin = lab.heaps.with_history(&plugin, |history: &History| {
            covered = covered.max(history.covered());
            resolution = resolution.max(history.resolution());
            history.series(limit, POINTS)
        });
        let row = |s: Series| SeriesRow {
            plugin: plugin.id().to_owned(),
            location: s.site.location.to_string(),
            points: s
                .points
                .into_iter()
                .map(|(at, bytes)| (unix - (now.saturating_sub(at)).as_secs_f64(), bytes))
                .collect(),
        };
        series.extend(of_plugin.into_iter().map(row));
    }
    Ok(Json(HistoryBody {
        window_seconds: covered.as_secs_f64(),
        resolution_seconds: resolution.as_secs_f64(),
        series,
    }))
}
