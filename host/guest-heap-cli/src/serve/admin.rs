//! The heap profile over HTTP, on an address of its own: the inspector, and what a request leaves
//! behind.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use guest_heap_inspector::{HeapError, HeapReading, HeapSource, Options};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::serve::growth::{self, Growth};
use crate::serve::server::Server;

/// Rows of a table for people.
const ROWS: usize = 50;

/// Serves the heap profile until the process ends.
pub(super) async fn serve(server: Arc<Server>, listener: TcpListener) {
    let options = Options {
        title: format!("Heap of {}", server.name()),
        source_roots: server.arguments.source_root.clone(),
        ..Options::default()
    };
    let router = Router::new()
        .route("/", get(async || Redirect::temporary("/debug/heap/")))
        .route("/debug/requests", get(requests))
        .with_state(server.clone())
        .merge(guest_heap_inspector::router(LiveInstance(server), options));
    if let Err(error) = axum::serve(listener, router).await {
        eprintln!("the heap profile is no longer served: {error}");
    }
}

/// The heap of the live instance, or of the one that has ended last.
struct LiveInstance(Arc<Server>);

impl HeapSource for LiveInstance {
    fn guests(&self) -> Vec<String> {
        vec![self.0.name()]
    }

    async fn read(&self, _guest: &str) -> Result<HeapReading, HeapError> {
        let read = self.0.snapshot().await;
        let (counted, heap) = read.map_err(|error| HeapError::Failed(format!("{error:#}")))?;
        let reading =
            HeapReading::of_snapshot(Arc::new(heap.snapshot), heap.attribution, heap.live_range);
        Ok(reading.with_calls(counted.requests))
    }
}

/// An error of the profile; the client can try again.
struct Unavailable(anyhow::Error);

impl From<anyhow::Error> for Unavailable {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{:#}\n", self.0)).into_response()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Deserialize)]
struct RequestsQuery {
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Requests {
    /// The number of the live instance, from 1.
    instance: u64,
    /// Requests that it has handled.
    requests: u64,
    /// Instances that have ended, by reason.
    ended: std::collections::BTreeMap<&'static str, u64>,
    live_bytes: u64,
    live_blocks: u64,
    /// `null` until the instance has handled two requests.
    growth: Option<Growth>,
    paths: Vec<Path>,
}

#[derive(Debug, Serialize)]
struct Path {
    path: String,
    requests: u64,
    /// Requests before and after which the guest was idle.
    measured: u64,
    /// `null` if no request was measured.
    bytes_per_request: Option<f64>,
}

async fn requests(
    State(server): State<Arc<Server>>,
    Query(query): Query<RequestsQuery>,
) -> Result<Response, Unavailable> {
    let (counted, heap) = server.snapshot().await?;
    let summary = server.tally.summary();
    let growth = server.growth(&summary, &counted, &heap).await?;
    let totals = heap.snapshot.totals();
    if query.format == Format::Text {
        let text = format!(
            "{}\nlive: {} bytes in {} blocks\n{}{}",
            summary.instances(server.instance_per_request),
            guest_heap::grouped(totals.live_bytes),
            guest_heap::grouped(totals.live_objects),
            growth.map_or_else(String::new, |growth| growth.text(ROWS)),
            growth::of_paths(&summary.paths, ROWS),
        );
        return Ok(text.into_response());
    }
    let paths = summary.paths.iter().map(|(name, retained)| Path {
        path: name.to_string(),
        requests: retained.requests,
        measured: retained.measured,
        bytes_per_request: retained.bytes_per_request(),
    });
    let requests = Requests {
        instance: summary.number,
        requests: counted.requests,
        live_bytes: totals.live_bytes,
        live_blocks: totals.live_objects,
        growth,
        paths: paths.collect(),
        ended: summary.ended,
    };
    Ok(axum::Json(requests).into_response())
}
