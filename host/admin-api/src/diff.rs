//! `GET /admin/memory/diff`: how the live heap changed since a baseline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use guest_heap::diff::{Baseline, Change, Diff};
use guest_heap::snapshot::GroupBy;
use guest_heap_inspector::stack::{ResizedBlocks, TraceFrame};
use serde::Serialize;
use utoipa::ToSchema;

use crate::attribution::AttributionBody;
use crate::auth;
use crate::auth::browser::is_prefetch;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::exercise_progress::Action;
use crate::heap_query::{Comparison, HeapQuery};
use crate::query::ApiQuery;
use crate::state::ApiState;
use crate::units::{difference, mib, signed_mib};
use lab::heap::baselines::{LabBaseline, PluginBaseline};
use lab::heap::{PluginHeap, Selection};
use lab::sample_history::PluginSample;
use plugin_host::driver::handle::Plugin;

/// Rows of each list, unless the query has a `limit`.
const DEFAULT_ROWS: usize = 20;

/// The change of one line, function, file or call stack.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeRow {
    /// `plugins/cache/src/lib.rs:42`.
    location: String,
    plugin: String,
    function: String,
    /// Growth of the live bytes, in KiB.
    size_diff_kb: f64,
    /// The same in bytes.
    size_diff_bytes: i64,
    /// Growth of the number of live objects.
    count_diff: i64,
    /// Live KiB now.
    current_size_kb: f64,
    /// The same in bytes.
    current_size_bytes: u64,
    /// Set if it has resized blocks that live now, as in the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    resized: Option<ResizedBlocks>,
    /// The call stack, innermost frame first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<TraceFrame>,
}

impl ChangeRow {
    fn of(plugin: &str, change: &Change) -> Self {
        ChangeRow {
            location: change.location.to_string(),
            plugin: plugin.to_owned(),
            function: change.site.function.to_string(),
            size_diff_kb: change.bytes as f64 / 1024.0,
            size_diff_bytes: change.bytes,
            count_diff: change.objects,
            current_size_kb: change.current_bytes as f64 / 1024.0,
            current_size_bytes: change.current_bytes,
            resized: change.resized.as_ref().map(ResizedBlocks::from),
            trace: TraceFrame::stack(&change.frames),
        }
    }
}

/// The change of one plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginChange {
    linear_memory_diff_mb: f64,
    linear_memory_diff_bytes: i64,
    heap_live_diff_mb: f64,
    heap_live_diff_bytes: i64,
    retained_objects_diff: i64,
    /// Requests since the baseline, or since the plugin's last restart if that was later.
    requests: u64,
    /// Whether the plugin got a fresh instance since the baseline.
    restarted: bool,
    #[serde(flatten)]
    attribution: AttributionBody,
}

impl PluginChange {
    fn since(then: &LabBaseline, plugin: &Plugin) -> Self {
        let now = PluginSample::of(plugin);
        let then = then.of(plugin).map(|p| p.sample).unwrap_or_default();
        let restarted = now.generation != then.generation;
        let linear = difference(now.linear_bytes, then.linear_bytes);
        let live = difference(now.heap_live_bytes, then.heap_live_bytes);
        PluginChange {
            linear_memory_diff_mb: signed_mib(linear),
            linear_memory_diff_bytes: linear,
            heap_live_diff_mb: signed_mib(live),
            heap_live_diff_bytes: live,
            retained_objects_diff: difference(now.retained_objects, then.retained_objects),
            requests: if restarted {
                now.requests
            } else {
                now.requests.saturating_sub(then.requests)
            },
            restarted,
            attribution: AttributionBody::of(&plugin.details(), &plugin.reading()),
        }
    }
}

/// The answer to the first call: the present is the baseline of the next call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BaselineSet {
    /// `baseline_set`.
    status: &'static str,
    message: &'static str,
    /// Live MiB of all plugins now.
    baseline_size_mb: f64,
    /// The same in bytes.
    baseline_size_bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiffComputed {
    /// `diff_computed`.
    status: &'static str,
    /// The kind of baseline: `the last diff`, `a named baseline` or `the host's history`.
    baseline: &'static str,
    /// Rows that grew, largest growth first.
    growing_allocations: Vec<ChangeRow>,
    /// Rows that shrank, largest loss first.
    shrinking_allocations: Vec<ChangeRow>,
    plugins: BTreeMap<String, PluginChange>,
    /// Growth of the live bytes of all rows, also those that are not listed, in MiB.
    total_growth_mb: f64,
    /// The same in bytes.
    total_growth_bytes: i64,
    /// Requests to `/api/data` since the baseline.
    requests_since_baseline: u64,
    /// Growth per request; null without a request.
    bytes_per_request: Option<f64>,
    tip: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum DiffBody {
    Set(BaselineSet),
    Computed(DiffComputed),
}

/// The difference of each plugin's heap.
type Diffs = Vec<(String, Diff)>;

/// How the live heap changed, largest change first. The first call sets a baseline; each later call
/// compares with it and replaces it. With `?baseline=NAME` the call compares with a named baseline
/// and keeps it; with `?since=5m`, with the host's own history. `HEAD` moves no baseline. A
/// prefetch and a page of another origin that would move it get 403.
#[utoipa::path(get, path = "/admin/memory/diff", tag = "memory", params(HeapQuery),
    responses((status = 200, body = DiffBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn diff(
    State(state): State<Arc<ApiState>>,
    method: Method,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Json<DiffBody>, ApiError> {
    let (by, limit) = (query.group_by()?, query.limit(DEFAULT_ROWS)?);
    let comparison = query.comparison(&state)?;
    let (shown, selection) = (query.plugins(&state)?, query.selection());
    let requests = state.requests();
    let sets_baseline = matches!(comparison, Comparison::Default);
    let mut computed = match comparison {
        Comparison::Baseline(then) => {
            let heaps = state.heaps.snapshots(&shown, selection).await?;
            let diffs = since_baseline(&heaps, &then, by, limit);
            compare(&shown, diffs, "a named baseline", &then, limit, requests)
        }
        Comparison::Ago(ago) => {
            let diffs = since_ago(&state, (&shown, selection), ago, by, limit).await?;
            let then = readings_before(&state, &shown, ago);
            compare(&shown, diffs, "the host's history", &then, limit, requests)
        }
        Comparison::Default => {
            // This comparison is the one GET of the API that changes something.
            auth::refuse_foreign(&state, &headers)?;
            refuse_prefetch(&headers)?;
            // The baseline covers all plugins, also those that this call does not show.
            let (heaps, live, then) = loop {
                let begun = state.baselines.begin();
                let all = state.registry.plugins();
                let heaps = state.heaps.snapshots(&all, Selection::All).await?;
                let now = LabBaseline::now(&all, &heaps, requests);
                let live = now.live_bytes();
                let then = if method == Method::HEAD {
                    Ok(state.baselines.unnamed())
                } else {
                    state.baselines.replace(begun, now)
                };
                // Without an answer, a reset came between: the heaps are those from before it.
                if let Ok(then) = then {
                    break (heaps, live, then);
                }
            };
            let Some(then) = then else {
                state.record(&Action::SetBaseline);
                return Ok(Json(DiffBody::Set(BaselineSet {
                    status: "baseline_set",
                    message: "baseline set; send some traffic and call again to see what grew",
                    baseline_size_mb: mib(live),
                    baseline_size_bytes: live,
                })));
            };
            let is_shown = |heap: &PluginHeap| shown.iter().any(|p| p.id() == heap.plugin.id());
            let heaps: Vec<_> = heaps.into_iter().filter(is_shown).collect();
            let diffs = since_baseline(&heaps, &then, by, limit);
            compare(&shown, diffs, "the last diff", &then, limit, requests)
        }
    };
    for plugin in shown.iter().filter(|plugin| !query.lists(plugin)) {
        let changed = |change: &PluginChange| {
            change.linear_memory_diff_bytes != 0 || change.heap_live_diff_bytes != 0
        };
        if !computed.plugins.get(plugin.id()).is_some_and(changed) {
            computed.plugins.remove(plugin.id());
        }
    }
    let grown = computed.growing_allocations.iter();
    state.record(&Action::ReadDiff {
        grown: grown.map(|row| row.plugin.clone()).collect(),
        sets_baseline: sets_baseline && method == Method::GET,
    });
    Ok(Json(DiffBody::Computed(computed)))
}

/// A browser may fetch the address of a link ahead of a visit that never happens, and may show that
/// answer later.
fn refuse_prefetch(headers: &HeaderMap) -> Result<(), ApiError> {
    if !is_prefetch(headers) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Prefetch,
        "this call moves the baseline, and the request is a prefetch",
        "open the address itself, or compare with ?since=5m, which moves nothing",
    ))
}

/// The numbers of the plugins `ago`, without their heaps.
fn readings_before(state: &ApiState, plugins: &[Arc<Plugin>], ago: Duration) -> LabBaseline {
    let before = |plugin: &Arc<Plugin>| {
        let sample = state.monitor.history().plugin_sample_before(plugin, ago);
        let baseline = PluginBaseline {
            heap: None,
            sample: sample.unwrap_or_else(|| PluginSample::of(plugin)),
        };
        (plugin.id().to_owned(), baseline)
    };
    LabBaseline {
        taken_at: jiff::Timestamp::now(),
        requests: state.monitor.history().requests_before(ago),
        plugins: plugins.iter().map(before).collect(),
    }
}

/// The change of each heap since a baseline.
fn since_baseline(heaps: &[PluginHeap], then: &LabBaseline, by: GroupBy, limit: usize) -> Diffs {
    let diff = |heap: &PluginHeap| {
        let earlier = then.of(&heap.plugin).and_then(|p| p.heap.clone());
        // A plugin that was loaded after the baseline held nothing.
        let earlier = earlier.unwrap_or_else(|| Arc::new(Baseline::empty(&heap.snapshot)));
        let diff = Diff::new(&earlier, &heap.snapshot, by, limit);
        (heap.plugin.id().to_owned(), diff)
    };
    heaps.iter().map(diff).collect()
}

/// The change of each heap over the last `ago`. The history has lines for every second, but call
/// stacks only for every minute; for call stacks, the nearest minute counts.
async fn since_ago(
    state: &ApiState,
    (shown, selection): (&[Arc<Plugin>], Selection),
    ago: Duration,
    by: GroupBy,
    limit: usize,
) -> Result<Diffs, ApiError> {
    let mut diffs = Vec::with_capacity(shown.len());
    for plugin in shown {
        let fresh = state.heaps.update_history(plugin).await;
        if selection.accept(plugin, fresh)?.is_none() {
            continue;
        }
        let diff = match by {
            GroupBy::Trace => {
                let snapshot = state.heaps.snapshot(plugin).await;
                let Some(snapshot) = selection.accept(plugin, snapshot)?.flatten() else {
                    continue;
                };
                let earlier = state.heaps.with_history(plugin, |h| h.baseline(ago));
                earlier.map(|(earlier, _)| Diff::new(&earlier, &snapshot, by, limit))
            }
            _ => {
                let diff = state
                    .heaps
                    .with_history(plugin, |h| h.since(ago, by, limit));
                diff.map(|(diff, _)| diff)
            }
        };
        // A history with a single reading has no earlier state: nothing changed.
        diffs.push((plugin.id().to_owned(), diff.unwrap_or_default()));
    }
    Ok(diffs)
}

fn compare(
    shown: &[Arc<Plugin>],
    diffs: Diffs,
    baseline: &'static str,
    then: &LabBaseline,
    limit: usize,
    requests: u64,
) -> DiffComputed {
    let (mut growing, mut shrinking) = (Vec::new(), Vec::new());
    let mut total = 0;
    for (plugin, diff) in &diffs {
        total += diff.bytes;
        growing.extend(diff.growing.iter().map(|c| ChangeRow::of(plugin, c)));
        shrinking.extend(diff.shrinking.iter().map(|c| ChangeRow::of(plugin, c)));
    }
    growing.sort_by_key(|row: &ChangeRow| std::cmp::Reverse(row.size_diff_bytes));
    growing.truncate(limit);
    shrinking.sort_by_key(|row: &ChangeRow| row.size_diff_bytes);
    shrinking.truncate(limit);
    let since = requests.saturating_sub(then.requests);
    DiffComputed {
        status: "diff_computed",
        baseline,
        growing_allocations: growing,
        shrinking_allocations: shrinking,
        plugins: shown
            .iter()
            .map(|plugin| (plugin.id().to_owned(), PluginChange::since(then, plugin)))
            .collect(),
        total_growth_mb: signed_mib(total),
        total_growth_bytes: total,
        requests_since_baseline: since,
        bytes_per_request: (since > 0).then(|| total as f64 / since as f64),
        tip: "a line that grows with every request is the leak: compare its count_diff with \
              requests_since_baseline",
    }
}
