//! The heap profile over HTTP, on an address of its own: for `go tool pprof`, and for people.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use guest_heap::pprof::ProfileBuilder;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::serve::growth::{self, Growth};
use crate::serve::server::Server;

/// Rows of a table for people.
const ROWS: usize = 50;

const INDEX: &str = "\
guest-heap serve

/debug/requests               what a request leaves behind, by line and by path
/debug/requests?format=json   the same as JSON
/debug/pprof/heap             the live heap: go tool pprof http://ADDRESS/debug/pprof/heap
";

/// Serves the heap profile until the process ends.
pub(super) async fn serve(server: Arc<Server>, listener: TcpListener) {
    let router = Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/debug/pprof/heap", get(pprof))
        .route("/debug/requests", get(requests))
        .with_state(server);
    if let Err(error) = axum::serve(listener, router).await {
        eprintln!("the heap profile is no longer served: {error}");
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

async fn pprof(State(server): State<Arc<Server>>) -> Result<Response, Unavailable> {
    let (_, heap) = server.snapshot().await?;
    let encode = move || {
        let mut profile = ProfileBuilder::new(SystemTime::now());
        profile.add("guest", &heap.snapshot);
        profile.encode()
    };
    let bytes = tokio::task::spawn_blocking(encode).await;
    let bytes = bytes.map_err(anyhow::Error::from)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"heap.pb.gz\"",
        ),
    ];
    Ok((headers, bytes).into_response())
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
