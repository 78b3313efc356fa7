//! `GET /admin/memory/diff`: how the live heap changed since a baseline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use guest_heap::diff::{Baseline, Diff};
use guest_heap::snapshot::GroupBy;

use crate::auth;
use crate::auth::browser::is_prefetch;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::exercise_progress::Action;
use crate::heap_query::{Comparison, HeapQuery};
use crate::query::ApiQuery;
use crate::since::Since;
use crate::state::ApiState;
use crate::units::mib;
use lab::heap::baselines::{LabBaseline, PluginBaseline};
use lab::heap::{PluginHeap, Selection};
use lab::sample_history::PluginSample;
use plugin_host::driver::handle::Plugin;

use body::{BaselineSet, DiffBody, DiffComputed, PluginChange};

mod body;

/// Rows of each list with `all=true`, unless the query has a `limit`.
const ALL_ROWS: usize = 20;

/// The difference of each plugin's heap.
type Diffs = Vec<(String, Diff)>;

/// How the live heap changed, largest change first. The first call sets a baseline; each later call
/// compares with it and replaces it. With `?baseline=NAME` the call compares with a named baseline
/// and keeps it; with `?since=5m`, with the host's own history. `HEAD` moves no baseline. A
/// prefetch and a page of another origin that would move it get 403.
#[utoipa::path(get, path = "/admin/memory/diff", tag = "memory", params(
        ("plugin" = Option<String>, Query, description = "The id of one plugin, with all fields; all plugins by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Rows of each list; by default, only the largest ones"),
        ("group_by" = Option<String>, Query, description = "`line`, `function`, `file` or `trace`; `line` by default"),
        ("baseline" = Option<String>, Query, description = "The named baseline to compare with"),
        ("since" = Option<String>, Query, description = "Compare with the state this long ago: `30s`, `5m`, at most `15m`"),
        ("all" = Option<bool>, Query, description = "List every plugin with all fields, and more rows")),
    responses((status = 200, body = DiffBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn diff(
    State(state): State<Arc<ApiState>>,
    method: Method,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Json<DiffBody>, ApiError> {
    let (by, rows) = (query.group_by()?, query.rows(ALL_ROWS)?);
    let limit = rows.to_read();
    let comparison = query.comparison(&state)?;
    let (shown, selection) = (query.plugins(&state)?, query.selection());
    let requests = state.requests();
    let sets_baseline = matches!(comparison, Comparison::Default);
    let mut window = None;
    let (baseline, diffs, then) = match comparison {
        Comparison::Baseline { name, then } => {
            let heaps = state.heaps.snapshots(&shown, selection).await?;
            let diffs = since_baseline(&heaps, &then, by, limit);
            (format!("the named baseline {name}"), diffs, then)
        }
        Comparison::Ago(asked) => {
            let Since { ago, note } = Since::of(&shown, asked);
            window = note;
            let diffs = since_ago(&state, (&shown, selection), ago, by, limit).await?;
            let then = Arc::new(readings_before(&state, &shown, ago));
            ("the host's history".to_owned(), diffs, then)
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
            ("the last diff".to_owned(), diffs, then)
        }
    };
    let requests = requests.saturating_sub(then.requests);
    let mut computed = DiffComputed::of(baseline, &diffs, rows, requests);
    computed.window = window;
    computed.plugins = plugin_changes(&shown, &then, &query);
    let grown = diffs.iter().filter(|(_, diff)| !diff.growing.is_empty());
    state.record(&Action::ReadDiff {
        grown: grown.map(|(plugin, _)| plugin.clone()).collect(),
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

/// The change of each heap over the last `ago`, by the lines of the history's readings.
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
                let earlier = state
                    .heaps
                    .with_history(plugin, |h| h.stacks_before(ago, &snapshot));
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

/// The changes of the plugins that the query lists, and of those that changed.
fn plugin_changes(
    shown: &[Arc<Plugin>],
    then: &LabBaseline,
    query: &HeapQuery,
) -> BTreeMap<String, PluginChange> {
    let changes = shown.iter().filter_map(|plugin| {
        let change = PluginChange::since(then, plugin, query.is_complete());
        let is_listed = query.lists(plugin) || change.is_change();
        is_listed.then(|| (plugin.id().to_owned(), change))
    });
    changes.collect()
}
