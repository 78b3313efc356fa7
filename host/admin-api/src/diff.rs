//! `GET /admin/memory/diff` and the named baselines: what grew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use guest_heap::diff::{Baseline, Change, Diff};
use guest_heap::snapshot::GroupBy;
use serde::Serialize;
use serde_json::{Value as Json_, json};
use utoipa::ToSchema;

use super::Lab;
use super::body::JsonObject;
use super::error::{ApiError, ErrorBody};
use super::heap_query::{Against, CheckedQuery, HeapQuery, unknown_baseline};
use super::name::Name;
use super::size::{difference, mb, signed_mb};
use super::snapshot::{TraceFrame, trace};
use lab::heap::baselines::{LabBaseline, MAX_NAMED_BASELINES, PluginBaseline};
use lab::heap::{PluginHeap, Selection};
use lab::history::PluginSample;
use plugin_host::driver::handle::Plugin;

const ROWS: usize = 20;

/// How much one line, function, file or call stack changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangeRow {
    /// `plugins/cache/src/lib.rs:42`.
    location: String,
    plugin: String,
    function: String,
    /// KiB now less KiB then.
    size_diff_kb: f64,
    size_diff_bytes: i64,
    /// Objects now less objects then.
    count_diff: i64,
    current_size_kb: f64,
    current_size_bytes: u64,
    /// The call stack, innermost first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<TraceFrame>,
}

/// How much one plugin changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PluginChange {
    linear_memory_diff_mb: f64,
    linear_memory_diff_bytes: i64,
    heap_live_diff_mb: f64,
    heap_live_diff_bytes: i64,
    retained_objects_diff: i64,
    /// Requests that it was offered meanwhile; since its last reset if that was later.
    requests: u64,
    /// Whether its instance is another one now.
    restarted: bool,
}

/// The first answer: there is something to compare with now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BaselineSet {
    /// `baseline_set`.
    status: &'static str,
    message: &'static str,
    baseline_size_mb: f64,
    baseline_size_bytes: u64,
}

/// What changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DiffComputed {
    /// `diff_computed`.
    status: &'static str,
    /// What it is compared with.
    baseline: String,
    /// What grew, most first.
    growing_allocations: Vec<ChangeRow>,
    /// What shrank, most first.
    shrinking_allocations: Vec<ChangeRow>,
    plugins: BTreeMap<String, PluginChange>,
    /// Live bytes now less then, over all plugins and all lines.
    total_growth_mb: f64,
    total_growth_bytes: i64,
    /// Requests to /api/data meanwhile.
    requests_since_baseline: u64,
    /// Growth per request; null when there were none.
    bytes_per_request: Option<f64>,
    tip: &'static str,
}

/// The answer of a diff.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum DiffBody {
    /// There was nothing to compare with.
    Set(BaselineSet),
    /// There was.
    Computed(DiffComputed),
}

/// A named baseline.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BaselineInfo {
    name: String,
    /// RFC 3339, UTC.
    taken_at: String,
    /// Live bytes of all plugins then.
    heap_live_mb: f64,
    heap_live_bytes: u64,
    /// Requests that the service had served then.
    requests: u64,
}

/// All named baselines.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BaselineList {
    baselines: Vec<BaselineInfo>,
}

/// What grew, largest first. The first call sets a baseline, each later one compares with it and becomes it. With
/// `?baseline=NAME` a named baseline is compared with and left as it is; with `?since=5m` the host's own history.
#[utoipa::path(get, path = "/admin/memory/diff", tag = "memory", params(HeapQuery),
    responses((status = 200, body = DiffBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn diff(
    State(lab): State<Arc<Lab>>,
    CheckedQuery(query): CheckedQuery,
) -> Result<Json<DiffBody>, ApiError> {
    let (by, limit, against) = (query.group_by()?, query.limit(ROWS)?, query.against(&lab)?);
    let (shown, asked) = (query.plugins(&lab)?, query.asked());
    let requests = lab.requests();
    Ok(Json(match against {
        Against::Named(moment) => {
            let heaps = lab.heaps.snapshots(&shown, asked).await?;
            let diffs = since_moment(&heaps, &moment, by, limit);
            let parts = (diffs, "a named baseline");
            DiffBody::Computed(compared(&shown, parts, &moment, limit, requests))
        }
        Against::Ago(ago) => {
            let diffs = since_ago(&lab, (&shown, asked), ago, by, limit).await?;
            let moment = LabBaseline {
                taken_at: jiff::Timestamp::now(),
                requests: lab.monitor.history().requests_before(ago),
                plugins: shown
                    .iter()
                    .map(|p| {
                        let marks = lab.monitor.history().plugin_sample_before(p, ago);
                        let moment = PluginBaseline {
                            heap: None,
                            sample: marks.unwrap_or_else(|| PluginSample::of(p)),
                        };
                        (p.id().to_owned(), moment)
                    })
                    .collect(),
            };
            let parts = (diffs, "the host's history");
            DiffBody::Computed(compared(&shown, parts, &moment, limit, requests))
        }
        Against::Unnamed => {
            // The baseline is of all plugins, whichever are shown.
            let all = lab.registry.plugins();
            let heaps = lab.heaps.snapshots(&all, Selection::All).await?;
            let now = LabBaseline::now(&all, &heaps, requests);
            let live = now.live_bytes();
            match lab.baselines.replace(now) {
                None => DiffBody::Set(BaselineSet {
                    status: "baseline_set",
                    message: "baseline taken; send some traffic and ask again to see what grew",
                    baseline_size_mb: mb(live),
                    baseline_size_bytes: live,
                }),
                Some(then) => {
                    let is_shown =
                        |heap: &PluginHeap| shown.iter().any(|p| p.id() == heap.plugin.id());
                    let heaps: Vec<_> = heaps.into_iter().filter(is_shown).collect();
                    let parts = (since_moment(&heaps, &then, by, limit), "the last diff");
                    DiffBody::Computed(compared(&shown, parts, &then, limit, requests))
                }
            }
        }
    }))
}

/// What each heap gained since a baseline, by plugin.
fn since_moment(heaps: &[PluginHeap], then: &LabBaseline, by: GroupBy, limit: usize) -> Diffs {
    let diff = |heap: &PluginHeap| {
        let plugin = heap.plugin.id();
        let earlier = then.of(&heap.plugin).and_then(|p| p.heap.clone());
        // A plugin that came later held nothing then.
        let earlier = earlier.unwrap_or_else(|| Arc::new(Baseline::empty(&heap.snapshot)));
        let diff = Diff::new(&earlier, &heap.snapshot, by, limit);
        (plugin.to_owned(), diff)
    };
    heaps.iter().map(diff).collect()
}

/// What each heap gained over the last `ago`, by plugin. Lines are known of every second; call stacks only of every
/// minute, and there the moment that is nearest counts.
async fn since_ago(
    lab: &Lab,
    (shown, asked): (&[Arc<Plugin>], Selection),
    ago: Duration,
    by: GroupBy,
    limit: usize,
) -> Result<Diffs, ApiError> {
    let mut diffs = Vec::with_capacity(shown.len());
    for plugin in shown {
        let id = plugin.id();
        let fresh = lab.heaps.update_history(plugin).await;
        if asked.accept(plugin, fresh)?.is_none() {
            continue;
        }
        let diff = match by {
            GroupBy::Trace => {
                let snapshot = lab.heaps.snapshot(plugin).await;
                let Some(snapshot) = asked.accept(plugin, snapshot)?.flatten() else {
                    continue;
                };
                let earlier = lab.heaps.with_history(plugin, |h| h.baseline(ago));
                earlier.map(|(earlier, _)| Diff::new(&earlier, &snapshot, by, limit))
            }
            _ => {
                let diff = lab.heaps.with_history(plugin, |h| h.since(ago, by, limit));
                diff.map(|(diff, _)| diff)
            }
        };
        // Nothing has changed where there is one moment only.
        diffs.push((id.to_owned(), diff.unwrap_or_default()));
    }
    Ok(diffs)
}

/// Differences by plugin.
type Diffs = Vec<(String, Diff)>;

fn compared(
    shown: &[Arc<Plugin>],
    (diffs, baseline): (Diffs, &str),
    then: &LabBaseline,
    limit: usize,
    requests: u64,
) -> DiffComputed {
    let (mut growing, mut shrinking) = (Vec::new(), Vec::new());
    let mut total = 0;
    for (plugin, diff) in &diffs {
        total += diff.bytes;
        growing.extend(diff.growing.iter().map(|change| row(plugin, change)));
        shrinking.extend(diff.shrinking.iter().map(|change| row(plugin, change)));
    }
    growing.sort_by_key(|row: &ChangeRow| std::cmp::Reverse(row.size_diff_bytes));
    growing.truncate(limit);
    shrinking.sort_by_key(|row: &ChangeRow| row.size_diff_bytes);
    shrinking.truncate(limit);
    let since = requests.saturating_sub(then.requests);
    DiffComputed {
        status: "diff_computed",
        baseline: baseline.to_owned(),
        growing_allocations: growing,
        shrinking_allocations: shrinking,
        plugins: shown
            .iter()
            .map(|p| (p.id().to_owned(), plugin_change(p, then)))
            .collect(),
        total_growth_mb: signed_mb(total),
        total_growth_bytes: total,
        requests_since_baseline: since,
        bytes_per_request: (since > 0).then(|| total as f64 / since as f64),
        tip: "lines that grow with every request are the leak: look at size_diff_kb against requests_since_baseline",
    }
}

fn plugin_change(plugin: &Plugin, then: &LabBaseline) -> PluginChange {
    let now = PluginSample::of(plugin);
    let then = then.of(plugin).map(|p| p.sample).unwrap_or_default();
    let restarted = now.generation != then.generation;
    let linear = difference(now.linear_bytes, then.linear_bytes);
    let live = difference(now.heap_live_bytes, then.heap_live_bytes);
    PluginChange {
        linear_memory_diff_mb: signed_mb(linear),
        linear_memory_diff_bytes: linear,
        heap_live_diff_mb: signed_mb(live),
        heap_live_diff_bytes: live,
        retained_objects_diff: difference(now.retained_objects, then.retained_objects),
        requests: if restarted {
            now.requests
        } else {
            now.requests.saturating_sub(then.requests)
        },
        restarted,
    }
}

fn row(plugin: &str, change: &Change) -> ChangeRow {
    ChangeRow {
        location: change.location.to_string(),
        plugin: plugin.to_owned(),
        function: change.site.function.to_string(),
        size_diff_kb: change.bytes as f64 / 1024.0,
        size_diff_bytes: change.bytes,
        count_diff: change.objects,
        current_size_kb: change.current_bytes as f64 / 1024.0,
        current_size_bytes: change.current_bytes,
        trace: trace(&change.frames),
    }
}

/// The named baselines.
#[utoipa::path(get, path = "/admin/memory/baselines", tag = "memory", responses((status = 200, body = BaselineList)))]
pub(super) async fn list_baselines(State(lab): State<Arc<Lab>>) -> Json<BaselineList> {
    let baselines = lab.baselines.named();
    Json(BaselineList {
        baselines: baselines
            .iter()
            .map(|(name, moment)| info(name, moment))
            .collect(),
    })
}

/// Takes a baseline under a name; one of that name is replaced.
#[utoipa::path(put, path = "/admin/memory/baselines/{name}", tag = "memory",
    params(("name" = String, Path, description = "1 to 40 letters, digits, dashes, underscores")),
    responses((status = 200, body = BaselineInfo), (status = 422, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn put_baseline(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
    body: JsonObject,
) -> Result<Json<BaselineInfo>, ApiError> {
    body.finish(&[])?;
    let fits = (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !fits {
        let takes = "takes 1 to 40 letters, digits, dashes and underscores";
        return Err(ApiError::invalid_value("name", takes));
    }
    let plugins = lab.registry.plugins();
    let heaps = lab.heaps.snapshots(&plugins, Selection::All).await?;
    let moment = LabBaseline::now(&plugins, &heaps, lab.requests());
    match lab.baselines.put(&name, moment) {
        Ok(moment) => Ok(Json(info(&name, &moment))),
        Err(_) => Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_baselines",
            format!("there are {MAX_NAMED_BASELINES} named baselines already"),
            "DELETE /admin/memory/baselines/NAME makes room; nothing was changed",
        )),
    }
}

/// Forgets a named baseline.
#[utoipa::path(delete, path = "/admin/memory/baselines/{name}", tag = "memory",
    params(("name" = String, Path, description = "The baseline")),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody)))]
pub(super) async fn delete_baseline(
    State(lab): State<Arc<Lab>>,
    Name(name): Name,
) -> Result<Json<Json_>, ApiError> {
    if lab.baselines.remove(&name) {
        Ok(Json(json!({ "deleted": name })))
    } else {
        Err(unknown_baseline(&lab, &name))
    }
}

fn info(name: &str, moment: &LabBaseline) -> BaselineInfo {
    BaselineInfo {
        name: name.to_owned(),
        taken_at: moment.taken_at.to_string(),
        heap_live_mb: mb(moment.live_bytes()),
        heap_live_bytes: moment.live_bytes(),
        requests: moment.requests,
    }
}
