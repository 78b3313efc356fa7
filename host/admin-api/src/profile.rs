//! The same heaps for other tools: `/debug/pprof/heap` and `/admin/memory/flamegraph`.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use guest_heap::diff::Baseline;
use guest_heap::flamegraph::{self, CONTENT_SECURITY_POLICY, MEDIA_TYPE};
use guest_heap::pprof::ProfileBuilder;
use guest_heap::snapshot::Snapshot;

use super::Lab;
use super::error::{ApiError, ErrorBody};
use super::heap_query::{Against, CheckedQuery, HeapQuery};

/// A flame graph of live bytes by guest call stack, as SVG; with `?baseline=NAME` or `?since=5m`, of the difference: red
/// grew, blue shrank.
#[utoipa::path(get, path = "/admin/memory/flamegraph", tag = "memory", params(HeapQuery),
    responses((status = 200, body = String, content_type = "image/svg+xml"), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(super) async fn flamegraph(
    State(lab): State<Arc<Lab>>,
    CheckedQuery(query): CheckedQuery,
) -> Result<Response, ApiError> {
    let svg = picture(&lab, &query).await?;
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    ];
    Ok((headers, svg).into_response())
}

/// The flame graph that a query asks for.
///
/// # Errors
///
/// When the query names what there is not, or a heap cannot be read.
pub async fn picture(lab: &Lab, query: &HeapQuery) -> Result<String, ApiError> {
    let against = query.against(lab)?;
    let plugins = query.plugins(lab)?;
    let heaps = lab.heaps.snapshots(&plugins, query.asked()).await?;
    let mut then: Vec<(String, Arc<Baseline>, Arc<Snapshot>)> = Vec::new();
    for heap in &heaps {
        let id = heap.plugin.id();
        let baseline = match &against {
            Against::Unnamed => continue,
            Against::Named(moment) => moment.of(&heap.plugin).and_then(|p| p.heap.clone()),
            Against::Ago(ago) => {
                let baseline = lab.heaps.with_history(&heap.plugin, |h| h.baseline(*ago));
                baseline.map(|(baseline, _)| Arc::new(baseline))
            }
        };
        let baseline = baseline.unwrap_or_else(|| Arc::new(Baseline::empty(&heap.snapshot)));
        then.push((id.to_owned(), baseline, heap.snapshot.clone()));
    }
    let unnamed = matches!(against, Against::Unnamed);
    let drawn = tokio::task::spawn_blocking(move || {
        if unnamed {
            let guests: Vec<_> = heaps
                .iter()
                .map(|h| (h.plugin.id(), &*h.snapshot))
                .collect();
            flamegraph::live_bytes("Live bytes by guest call stack", &guests)
        } else {
            let guests: Vec<_> = then
                .iter()
                .map(|(id, b, s)| (id.as_str(), &**b, &**s))
                .collect();
            flamegraph::difference("What changed, by guest call stack", &guests)
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
pub(super) async fn pprof(
    State(lab): State<Arc<Lab>>,
    CheckedQuery(query): CheckedQuery,
) -> Result<Response, ApiError> {
    query.no_comparison()?;
    let plugins = query.plugins(&lab)?;
    let heaps = lab.heaps.snapshots(&plugins, query.asked()).await?;
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
