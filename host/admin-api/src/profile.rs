//! `GET /debug/pprof/heap` and `GET /admin/memory/flamegraph`: the heaps in the formats of other
//! tools.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use guest_heap::diff::Baseline;
use guest_heap::flamegraph::{self, CONTENT_SECURITY_POLICY, MEDIA_TYPE};
use guest_heap::pprof::ProfileBuilder;
use guest_heap::snapshot::Snapshot;

use crate::error::{ApiError, ErrorBody};
use crate::heap_query::{Comparison, HeapQuery};
use crate::query::ApiQuery;
use crate::state::ApiState;

/// A flame graph of live bytes by guest call stack, as SVG. With `?baseline=NAME` or `?since=5m` it
/// shows the difference: red grew, blue shrank.
#[utoipa::path(get, path = "/admin/memory/flamegraph", tag = "memory", params(HeapQuery),
    responses((status = 200, body = String, content_type = "image/svg+xml"), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(crate) async fn flamegraph(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Response, ApiError> {
    let svg = render(&state, &query).await?;
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    ];
    Ok((headers, svg).into_response())
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
    let heaps = state.heaps.snapshots(&plugins, query.selection()).await?;
    let mut then: Vec<(String, Arc<Baseline>, Arc<Snapshot>)> = Vec::new();
    for heap in &heaps {
        let id = heap.plugin.id();
        let baseline = match &comparison {
            Comparison::Default => continue,
            Comparison::Baseline(then) => then.of(&heap.plugin).and_then(|p| p.heap.clone()),
            Comparison::Ago(ago) => {
                let baseline = state.heaps.with_history(&heap.plugin, |h| h.baseline(*ago));
                baseline.map(|(baseline, _)| Arc::new(baseline))
            }
        };
        let baseline = baseline.unwrap_or_else(|| Arc::new(Baseline::empty(&heap.snapshot)));
        then.push((id.to_owned(), baseline, heap.snapshot.clone()));
    }
    let live = matches!(comparison, Comparison::Default);
    let drawn = tokio::task::spawn_blocking(move || {
        if live {
            let guests: Vec<_> = heaps
                .iter()
                .map(|h| (h.plugin.id(), &*h.snapshot))
                .collect();
            flamegraph::live_bytes_with("Live bytes by guest call stack", &guests, libraries)
        } else {
            let guests: Vec<_> = then
                .iter()
                .map(|(id, b, s)| (id.as_str(), &**b, &**s))
                .collect();
            flamegraph::difference_with(
                "Change of live bytes by guest call stack",
                &guests,
                libraries,
            )
        }
    });
    drawn
        .await
        .map_err(|e| ApiError::internal(&e))?
        .map_err(|e| ApiError::internal(&e))
}

/// The heaps as a gzipped pprof profile: `go tool pprof`, Pyroscope and speedscope open it.
#[utoipa::path(get, path = "/debug/pprof/heap", tag = "memory", params(HeapQuery),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(crate) async fn pprof(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<HeapQuery>,
) -> Result<Response, ApiError> {
    query.reject_comparison()?;
    let plugins = query.plugins(&state)?;
    let heaps = state.heaps.snapshots(&plugins, query.selection()).await?;
    let encoded = tokio::task::spawn_blocking(move || {
        let mut profile = ProfileBuilder::new(SystemTime::now());
        for heap in &heaps {
            profile.add(heap.plugin.id(), &heap.snapshot);
        }
        profile.encode()
    });
    let bytes = encoded.await.map_err(|e| ApiError::internal(&e))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"heap.pb.gz\"",
        ),
    ];
    Ok((headers, bytes).into_response())
}
