//! `GET /admin/memory/snapshot`: live bytes by source line.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use guest_heap::snapshot::{Group, GroupBy, GrowthGroup};
use guest_heap::symbols::LineTables;
use guest_heap_inspector::stack::{ResizedBlocks, TraceFrame};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::attribution::AttributionBody;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::heap_query::{HeapQuery, Rows};
use crate::query::ApiQuery;
use crate::state::ApiState;
use crate::units::mib;
use lab::heap::{PluginHeap, Selection};
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::published_state::RunState;

/// The most rows of `by_file`.
const FILE_ROWS: usize = 15;

/// Rows of `by_file` in a short answer.
const SHORT_FILE_ROWS: usize = 2;

/// Rows of `by_line` with `all=true`, unless the query has a `limit`.
pub(crate) const ALL_ROWS: usize = 20;

/// The live bytes of one file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileRow {
    filename: String,
    size_mb: f64,
    size_bytes: u64,
    /// Live objects.
    count: u64,
    plugin: String,
}

/// The live bytes of one line, function, file or call stack.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineRow {
    /// `plugins/cache/src/lib.rs:42`: the innermost source line of the plugin itself.
    location: String,
    size_mb: f64,
    size_bytes: u64,
    /// Live objects.
    count: u64,
    plugin: String,
    function: String,
    /// Set if it has resized blocks: it made them grow, but other lines can have allocated them or
    /// can fill them.
    #[serde(skip_serializing_if = "Option::is_none")]
    resized: Option<ResizedBlocks>,
    /// The call stack, innermost frame first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<TraceFrame>,
}

/// The growth of linear memory for one line, function, file or call stack. It is right also where
/// the attribution of blocks is not `exact`. But it counts whole pages of 64 KiB, and the memory
/// can have been freed and used again since.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrowthRow {
    /// As in `by_line`.
    location: String,
    size_mb: f64,
    size_bytes: u64,
    /// The part of it that came without an allocator that the profiler sees.
    unseen_bytes: u64,
    plugin: String,
    function: String,
    /// The call stack, innermost frame first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<TraceFrame>,
}

/// A summary of one plugin's heap.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeapSummary {
    #[serde(flatten)]
    attribution: AttributionBody,
    /// Live MiB; null without attribution.
    heap_live_mb: Option<f64>,
    heap_live_bytes: Option<u64>,
    /// Live objects; null without attribution.
    objects: Option<u64>,
    /// Resources, streams and futures that the plugin has got and not dropped; null if they are not
    /// counted. `/debug/heap/` shows their lines.
    live_handles: Option<u64>,
    /// The number of call stacks that have allocated.
    contexts: u64,
    /// Blocks that the profiler could not track.
    lost: u64,
    /// `present`; `missing`; or `outdated` if they belong to other code. Null without attribution.
    line_tables: Option<&'static str>,
    /// What to do to see lines. Null if they are there.
    line_tables_why: Option<String>,
    linear_memory_mb: f64,
    linear_memory_bytes: u64,
    retained_mb: f64,
    retained_bytes: u64,
    /// `running`, `exhausted` or `faulted`. The heap of a plugin that failed stays readable until
    /// the plugin is reset.
    state: &'static str,
    generation: u64,
}

/// One plugin's heap in the fields that matter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShortHeapSummary {
    /// Left out while it is `exact`.
    #[serde(flatten)]
    #[schema(ignore)]
    attribution: Option<AttributionBody>,
    heap_live_mb: Option<f64>,
    heap_live_bytes: Option<u64>,
    objects: Option<u64>,
    /// What to do to see lines. Left out if they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_tables_why: Option<String>,
    /// Left out while it is `running`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
}

/// One plugin's heap, with all fields or with those that matter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ListedHeap {
    Complete(Box<HeapSummary>),
    Short(Box<ShortHeapSummary>),
}

impl ListedHeap {
    fn of(summary: HeapSummary, is_complete: bool) -> Self {
        if is_complete {
            return ListedHeap::Complete(Box::new(summary));
        }
        ListedHeap::Short(Box::new(ShortHeapSummary {
            attribution: summary.attribution.unless_exact(),
            heap_live_mb: summary.heap_live_mb,
            heap_live_bytes: summary.heap_live_bytes,
            objects: summary.objects,
            line_tables_why: summary.line_tables_why,
            state: Some(summary.state).filter(|state| *state != RunState::Running.name()),
        }))
    }

    fn is_exact(&self) -> bool {
        match self {
            ListedHeap::Complete(summary) => summary.attribution.is_exact(),
            ListedHeap::Short(summary) => summary.attribution.is_none(),
        }
    }
}

/// Live bytes by source line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotBody {
    /// RFC 3339, UTC.
    timestamp: String,
    /// Live bytes of all plugins with attribution.
    total_traced_mb: f64,
    total_traced_bytes: u64,
    /// The sum of the plugins' peaks.
    peak_traced_mb: f64,
    peak_traced_bytes: u64,
    /// The largest files: two without `limit` and `all`.
    by_file: Vec<FileRow>,
    /// The largest lines: four without `limit` and `all`.
    by_line: Vec<LineRow>,
    /// Growth of linear memory. Left out if all heaps that are listed are `exact`, unless the
    /// answer has all fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<Vec<GrowthRow>>,
    /// The plugins of the exercises, and those that are in use.
    plugins: BTreeMap<String, ListedHeap>,
    /// How to list the rows that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<&'static str>,
    tip: &'static str,
}

/// Live bytes by source line: every block that the guests' allocators have allocated and not freed.
#[utoipa::path(get, path = "/admin/memory/snapshot", tag = "memory", params(
        ("plugin" = Option<String>, Query, description = "The id of one plugin, with all fields; all plugins by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Rows of each list; by default, only the largest ones"),
        ("group_by" = Option<String>, Query, description = "`line`, `function`, `file` or `trace`; `line` by default"),
        ("all" = Option<bool>, Query, description = "List every plugin with all fields, and more rows")),
    responses((status = 200, body = SnapshotBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn snapshot(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Json<SnapshotBody>, ApiError> {
    let (by, rows) = (query.group_by()?, query.rows(ALL_ROWS)?);
    let plugins = query.plugins(&state)?;
    let chosen = (plugins.as_slice(), query.selection());
    let mut snapshot = of_plugins(&state, chosen, by, rows, query.is_complete()).await?;
    for plugin in plugins.iter().filter(|plugin| !query.lists(plugin)) {
        snapshot.plugins.remove(plugin.id());
    }
    if !query.is_complete() && snapshot.plugins.values().all(ListedHeap::is_exact) {
        snapshot.growth = None;
    }
    state.record(&Action::ReadSnapshot);
    Ok(Json(snapshot))
}

/// A snapshot of these plugins.
pub(crate) async fn of_plugins(
    state: &ApiState,
    (plugins, selection): (&[Arc<Plugin>], Selection),
    by: GroupBy,
    rows: Rows,
    is_complete: bool,
) -> Result<SnapshotBody, ApiError> {
    let limit = rows.of_list();
    let heaps = state.heaps.snapshots(plugins, selection).await?;
    let mut by_file = Vec::new();
    let mut by_line = Vec::new();
    let mut growth = Vec::new();
    for heap in &heaps {
        let files = heap.snapshot.top(GroupBy::File, FILE_ROWS.max(limit));
        by_file.extend(
            files
                .into_iter()
                .map(|group| file_row(heap.plugin.id(), &group)),
        );
        let lines = heap.snapshot.top(by, rows.to_read());
        by_line.extend(
            lines
                .into_iter()
                .map(|group| line_row(heap.plugin.id(), &group)),
        );
        let groups = heap.snapshot.top_growth(by, limit);
        growth.extend(
            groups
                .iter()
                .map(|group| growth_row(heap.plugin.id(), group)),
        );
    }
    by_file.sort_by_key(|row| std::cmp::Reverse(row.size_bytes));
    let files_found = by_file.len();
    by_file.truncate(match rows {
        Rows::Largest => SHORT_FILE_ROWS,
        Rows::Each(_) => FILE_ROWS,
    });
    by_line.sort_by_key(|row| std::cmp::Reverse(row.size_bytes));
    let found = files_found + by_line.len();
    by_line.truncate(limit);
    growth.sort_by_key(|row| std::cmp::Reverse(row.size_bytes));
    growth.truncate(limit);
    let total = heaps.iter().map(|h| h.snapshot.totals().live_bytes).sum();
    let peak = plugins
        .iter()
        .map(|p| p.reading().heap_peak)
        .sum::<u64>()
        .max(total);
    let more = rows.hint(found, by_file.len() + by_line.len());
    Ok(SnapshotBody {
        timestamp: Timestamp::now().to_string(),
        total_traced_mb: mib(total),
        total_traced_bytes: total,
        peak_traced_mb: mib(peak),
        peak_traced_bytes: peak,
        by_file,
        by_line,
        growth: Some(growth),
        more,
        plugins: plugins
            .iter()
            .map(|p| {
                let heap = heaps.iter().find(|h| h.plugin.id() == p.id());
                let listed = ListedHeap::of(summary(p, heap), is_complete);
                (p.id().to_owned(), listed)
            })
            .collect(),
        tip: "GET /admin/memory/diff shows what grew since the last diff; ?since=5m needs no baseline",
    })
}

fn summary(plugin: &Plugin, heap: Option<&PluginHeap>) -> HeapSummary {
    let (details, reading) = (plugin.details(), plugin.reading());
    let totals = heap.map(|h| *h.snapshot.totals());
    let line_tables = heap.map(|h| h.snapshot.symbols().line_tables());
    let without_lines = details.profile.without_lines().map(str::to_owned);
    HeapSummary {
        attribution: AttributionBody::of(&details, &reading),
        heap_live_mb: totals.map(|t| mib(t.live_bytes)),
        heap_live_bytes: totals.map(|t| t.live_bytes),
        objects: totals.map(|t| t.live_objects),
        live_handles: heap
            .filter(|heap| heap.snapshot.handle_counts().are_known())
            .map(|heap| heap.snapshot.live_handles()),
        contexts: totals.map_or(0, |t| t.contexts),
        lost: totals.map_or(0, |t| t.lost),
        line_tables: line_tables.map(LineTables::name),
        line_tables_why: without_lines
            .or_else(|| line_tables.and_then(LineTables::advice).map(str::to_owned)),
        linear_memory_mb: mib(reading.linear.bytes),
        linear_memory_bytes: reading.linear.bytes,
        retained_mb: mib(reading.retained.bytes),
        retained_bytes: reading.retained.bytes,
        state: details.state.name(),
        generation: reading.generation,
    }
}

fn file_row(plugin: &str, group: &Group) -> FileRow {
    FileRow {
        filename: group.location.to_string(),
        size_mb: mib(group.usage.live_bytes),
        size_bytes: group.usage.live_bytes,
        count: group.usage.live_objects,
        plugin: plugin.to_owned(),
    }
}

fn growth_row(plugin: &str, group: &GrowthGroup) -> GrowthRow {
    GrowthRow {
        location: group.location.to_string(),
        size_mb: mib(group.bytes),
        size_bytes: group.bytes,
        unseen_bytes: group.unseen_bytes,
        plugin: plugin.to_owned(),
        function: group.site.function.to_string(),
        trace: TraceFrame::stack(&group.frames),
    }
}

fn line_row(plugin: &str, group: &Group) -> LineRow {
    LineRow {
        location: group.location.to_string(),
        size_mb: mib(group.usage.live_bytes),
        size_bytes: group.usage.live_bytes,
        count: group.usage.live_objects,
        plugin: plugin.to_owned(),
        function: group.site.function.to_string(),
        resized: group.resized.as_ref().map(ResizedBlocks::from),
        trace: TraceFrame::stack(&group.frames),
    }
}
