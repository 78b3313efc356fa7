//! The heap profile over HTTP, on an address of its own: the inspector, and what a request leaves
//! behind.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use guest_heap_inspector::{HeapError, HeapReading, HeapSource, Inspector, Options};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::output::attribution_words;
use crate::report;
use crate::serve::growth::{self, Growth};
use crate::serve::server::Server;

/// Rows of a table for people.
const ROWS: usize = 50;

/// Serves the heap profile until the process ends.
pub(super) async fn serve(server: Arc<Server>, inspector: Arc<Inspector>, listener: TcpListener) {
    tokio::spawn(inspector.keep_history());
    let is_local = listener
        .local_addr()
        .is_ok_and(|address| address.ip().is_loopback());
    let mut router = Router::new()
        .route("/", get(async || Redirect::temporary("/debug/heap/")))
        .route("/debug/requests", get(requests))
        .with_state((server, inspector.clone()))
        .merge(inspector.router());
    if is_local {
        router = router.layer(middleware::from_fn(refuse_other_names));
    }
    if let Err(error) = axum::serve(listener, router).await {
        stderr_line!("the heap profile is no longer served: {error}");
    }
}

/// Refuses requests under a name that is not this machine's: a page from elsewhere could have its
/// name resolved to this address (DNS rebinding), and read the heap.
async fn refuse_other_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|it| it.to_str().ok());
    if host.is_some_and(is_local_name) {
        return next.run(request).await;
    }
    let hint = "the heap profile answers under localhost or an IP address only; give --admin-addr \
                an address of the network to open it to others\n";
    (StatusCode::MISDIRECTED_REQUEST, hint).into_response()
}

fn is_local_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// The inspector of a server.
pub(super) fn inspector(server: Arc<Server>) -> Arc<Inspector> {
    let options = Options {
        title: format!("Heap of {}", server.name()),
        source_roots: server.arguments.source_root.clone(),
        ..Options::default()
    };
    Inspector::new(LiveInstance(server), options)
}

/// The verdict on the guest, if there is enough evidence.
pub(super) fn verdict(server: &Server, inspector: &Inspector) -> Option<String> {
    let verdict = inspector.verdict(&server.name())?;
    Some(verdict.sentence())
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
        let linear_memory = heap.linear_memory;
        Ok(reading
            .with_calls(counted.requests)
            .with_linear_memory(linear_memory))
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
    /// `exact`, `partial` or `off`.
    attribution: &'static str,
    /// Why it is not exact.
    attribution_why: Option<String>,
    /// `null` if blocks are not measured.
    live_bytes: Option<u64>,
    live_blocks: Option<u64>,
    linear_memory_bytes: u64,
    /// What holds the memory; `null` while there is too little evidence.
    verdict: Option<String>,
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
    /// `null` if no request was measured, or blocks are not.
    bytes_per_request: Option<f64>,
    linear_memory_bytes_per_request: Option<f64>,
}

async fn requests(
    State((server, inspector)): State<(Arc<Server>, Arc<Inspector>)>,
    Query(query): Query<RequestsQuery>,
) -> Result<Response, Unavailable> {
    let (counted, heap) = server.snapshot().await?;
    let summary = server.tally.summary();
    let growth = server.growth(&summary, &counted, &heap).await?;
    let verdict = verdict(&server, &inspector);
    let totals = heap.snapshot.totals();
    let measures_blocks = heap.measures_blocks();
    if query.format == Format::Text {
        let text = format!(
            "{}\n{}{}{}{}{}",
            summary.instances(server.instance_per_request),
            verdict.map_or_else(String::new, |verdict| format!("verdict: {verdict}\n")),
            report::doubts(&heap),
            report::live(&heap),
            growth.map_or_else(String::new, |growth| growth.text(ROWS)),
            growth::of_paths(&summary.paths, ROWS, measures_blocks),
        );
        return Ok(text.into_response());
    }
    let paths = summary.paths.iter().map(|(name, retained)| Path {
        path: name.to_string(),
        requests: retained.requests,
        measured: retained.measured,
        bytes_per_request: retained.bytes_per_request().filter(|_| measures_blocks),
        linear_memory_bytes_per_request: retained.linear_bytes_per_request(),
    });
    let (attribution, why) = attribution_words(&heap.attribution);
    let requests = Requests {
        instance: summary.number,
        requests: counted.requests,
        attribution,
        attribution_why: why.map(str::to_owned),
        live_bytes: measures_blocks.then_some(totals.live_bytes),
        live_blocks: measures_blocks.then_some(totals.live_objects),
        linear_memory_bytes: heap.linear_memory,
        verdict,
        growth,
        paths: paths.collect(),
        ended: summary.ended,
    };
    Ok(axum::Json(requests).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in [
            "localhost:8081",
            "LOCALHOST",
            "a.localhost",
            "127.0.0.1",
            "[::1]:80",
            "10.0.0.1",
        ] {
            assert!(is_local_name(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "",
            "127.0.0.1.evil",
        ] {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
