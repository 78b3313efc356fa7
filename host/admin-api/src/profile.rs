//! `GET /debug/pprof/heap`, `GET /debug/pprof/allocs` and `GET /admin/memory/flamegraph`: the heaps
//! in the formats of other tools. `guest-heap-inspector` writes them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use guest_heap::diff::Baseline;
use guest_heap_inspector::flamegraph::{self as flamegraphs, Flamegraph};
use guest_heap_inspector::profile::{NamedSnapshots, ProfileKind, ProfileRequest};
use lab::heap::PluginHeap;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{ApiError, ErrorBody};
use crate::heap_query::{self, Comparison, HeapQuery};
use crate::query::{ApiQuery, QueryParameters};
use crate::since::Since;
use crate::state::ApiState;

/// The parameters of Go's `net/http/pprof`, and the plugin.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PprofQuery {
    /// The id of one plugin; all plugins by default. `guest` is another name of it, which the
    /// inspector uses.
    #[serde(alias = "guest")]
    plugin: Option<String>,
    /// Wait for so many seconds, 1 to 900, and answer what has changed in them.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 900)]
    seconds: Option<String>,
    /// 0 for the protobuf format, by default; another number for text.
    #[param(value_type = Option<i64>)]
    debug: Option<String>,
    /// Accepted, as Go's handlers accept it, and without effect.
    #[param(value_type = Option<i64>)]
    gc: Option<String>,
}

impl QueryParameters for PprofQuery {
    const NAMES: &str = "plugin, seconds, debug and gc";
}

/// A flame graph of live bytes by guest call stack, as SVG. With `?baseline=NAME` or `?since=5m` it
/// shows the difference: red grew, blue shrank.
#[utoipa::path(get, path = "/admin/memory/flamegraph", tag = "memory", params(
        ("plugin" = Option<String>, Query, description = "The id of one plugin; all plugins by default"),
        ("baseline" = Option<String>, Query, description = "The named baseline to compare with"),
        ("since" = Option<String>, Query, description = "Compare with the state this long ago: `30s`, `5m`, at most `15m`"),
        ("libraries" = Option<String>, Query, description = "`folded` or `shown`: how to draw frames that are not the plugin's own; `folded` by default")),
    responses((status = 200, body = String, content_type = "image/svg+xml"), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(crate) async fn flamegraph(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Response, ApiError> {
    Ok(flamegraphs::response(render(&state, &query).await?))
}

/// Renders the flame graph that a query asks for, as SVG.
///
/// # Errors
///
/// 404 if the query names an unknown plugin or baseline; an error of the plugin if its heap cannot
/// be read.
pub async fn render(state: &ApiState, query: &HeapQuery) -> Result<String, ApiError> {
    let comparison = query.comparison(state)?;
    let libraries = query.libraries()?;
    let plugins = query.plugins(state)?;
    let selection = query.selection();
    if matches!(comparison, Comparison::Ago(_)) {
        // Times in the history count back from its last reading.
        for plugin in &plugins {
            let updated = state.heaps.update_history(plugin).await;
            selection.accept(plugin, updated)?;
        }
    }
    let heaps = state.heaps.snapshots(&plugins, selection).await?;
    let (comparison, note) = match comparison {
        Comparison::Ago(asked) => {
            let Since { ago, note } = Since::of(&plugins, asked);
            let note = note.map(|note| format!("the window {note}"));
            (Comparison::Ago(ago), note)
        }
        comparison => (comparison, None),
    };
    let graph = match comparison {
        Comparison::Default => Flamegraph::Live(named(heaps)),
        comparison => {
            let change = heaps.into_iter().map(|heap| {
                let then = earlier(state, &comparison, &heap);
                (heap.plugin.id().to_owned(), then, heap.snapshot)
            });
            Flamegraph::Change(change.collect())
        }
    };
    let svg = graph.draw_with_note(libraries, note).await;
    svg.map_err(|e| ApiError::internal(&e))
}

/// The earlier heap to compare with. A plugin that was not there then held nothing.
fn earlier(state: &ApiState, comparison: &Comparison, heap: &PluginHeap) -> Arc<Baseline> {
    let baseline = match comparison {
        Comparison::Default => None,
        Comparison::Baseline { then, .. } => then.of(&heap.plugin).and_then(|p| p.heap.clone()),
        Comparison::Ago(ago) => {
            let baseline = state
                .heaps
                .with_history(&heap.plugin, |h| h.stacks_before(*ago, &heap.snapshot));
            baseline.map(|(baseline, _)| Arc::new(baseline))
        }
    };
    baseline.unwrap_or_else(|| Arc::new(Baseline::empty(&heap.snapshot)))
}

fn named(heaps: Vec<PluginHeap>) -> NamedSnapshots {
    let heaps = heaps.into_iter();
    heaps
        .map(|heap| (heap.plugin.id().to_owned(), heap.snapshot))
        .collect()
}

/// The heaps as a gzipped pprof profile: `go tool pprof`, Pyroscope and speedscope open it. With
/// `?seconds=5` it has what changed in the next 5 seconds; with `?debug=1` it is text.
#[utoipa::path(get, path = "/debug/pprof/heap", tag = "memory", params(PprofQuery),
    responses((status = 200, content((Vec<u8> = "application/octet-stream"), (String = "text/plain"))), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn heap(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<PprofQuery>,
) -> Result<Response, ApiError> {
    profile(&state, &query, ProfileKind::Heap).await
}

/// The same profile as `/debug/pprof/heap`. Its readers show first what was ever allocated, instead
/// of what is live.
#[utoipa::path(get, path = "/debug/pprof/allocs", tag = "memory", params(PprofQuery),
    responses((status = 200, content((Vec<u8> = "application/octet-stream"), (String = "text/plain"))), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn allocs(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<PprofQuery>,
) -> Result<Response, ApiError> {
    profile(&state, &query, ProfileKind::Allocs).await
}

async fn profile(
    state: &ApiState,
    query: &PprofQuery,
    kind: ProfileKind,
) -> Result<Response, ApiError> {
    let [seconds, debug, gc] =
        [&query.seconds, &query.debug, &query.gc].map(|value| value.as_deref());
    let request = ProfileRequest::new(kind, seconds, debug, gc)?;
    let id = query.plugin.as_deref();
    let read = || async move {
        let plugins = heap_query::plugins(state, id)?;
        let heaps = state.heaps.snapshots(&plugins, heap_query::selection(id));
        Ok(named(heaps.await?))
    };
    state.profiles.respond(request, read).await
}
