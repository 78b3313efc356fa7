//! The baseline of the HTTP benchmark: a plain axum service that answers `GET /api/data` like the
//! host and leaks nothing. It has the usual layers of such a service (a body limit, a guard against
//! panics, a trace id, request metrics) and no plugins, no samples, no admin API.
//!
//! `cargo xtask bench http` starts it. It prints its address in the same line as the host.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for benchmarks"
)]

use std::time::Instant;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;

#[derive(Serialize)]
struct Data {
    service: String,
    request_id: String,
    trace_id: String,
    duration_ms: f64,
    leaks_triggered: Vec<String>,
    leaks_failed: Vec<String>,
    data: Payload,
}

#[derive(Serialize)]
struct Payload {
    message: &'static str,
    timestamp: String,
}

#[derive(Clone)]
struct Metrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

#[derive(Clone)]
struct TraceId(String);

async fn data(Extension(TraceId(trace_id)): Extension<TraceId>) -> Json<Data> {
    let started = Instant::now();
    let request_id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    Json(Data {
        service: "leaky-service".to_owned(),
        request_id: request_id.to_string(),
        trace_id,
        duration_ms: started.elapsed().as_secs_f64() * 1e3,
        leaks_triggered: Vec::new(),
        leaks_failed: Vec::new(),
        data: Payload {
            message: "Hello from the leaky service",
            timestamp: Timestamp::now().to_string(),
        },
    })
}

async fn measure(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let trace = format!("{:032x}", rand::random::<u128>());
    let traceparent = format!("00-{trace}-{:016x}-01", rand::random::<u64>());
    request.extensions_mut().insert(TraceId(trace));
    let mut response = next.run(request).await;
    let header = HeaderValue::from_str(&traceparent).unwrap();
    response.headers_mut().insert("traceparent", header);
    let endpoint = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let status = response.status();
    let labels = ["leaky-service", method.as_str(), endpoint, status.as_str()];
    metrics.requests.with_label_values(&labels).inc();
    metrics
        .durations
        .with_label_values(&labels)
        .observe(started.elapsed().as_secs_f64());
    response
}

#[tokio::main]
async fn main() {
    let labels = ["service", "method", "endpoint", "status"];
    let metrics = Metrics {
        requests: IntCounterVec::new(Opts::new("http_requests_total", "Requests"), &labels)
            .unwrap(),
        durations: HistogramVec::new(
            HistogramOpts::new("http_request_duration_seconds", "Durations"),
            &labels,
        )
        .unwrap(),
    };
    let router = Router::new()
        .route("/api/data", get(data))
        .route("/health", get(async || Json("ok").into_response()))
        .layer(DefaultBodyLimit::max(64 << 10))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn_with_state(metrics, measure));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    println!("leak-host listening on http://{address}");
    axum::serve(listener, router).await.unwrap();
}
