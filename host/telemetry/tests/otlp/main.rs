//! The export of spans and metrics, against a collector in this process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the first unexpected result"
)]

mod collector;
mod profiles;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use collector::{Collector, Protocol, attribute, hex, parse, settings};
use opentelemetry::trace::Tracer as _;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prometheus::IntGauge;
use telemetry::context::TraceContext;
use telemetry::metrics::MetricsRegistry;
use telemetry::metrics::family::MetricDesc;
use telemetry::traces::Tracer;
use telemetry::{Telemetry, TelemetrySettings};
use tokio::net::TcpListener;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const MIB: u64 = 1 << 20;

/// The documented limit of a flush, with a margin for a busy machine.
const FLUSH_LIMIT: Duration = Duration::from_millis(2_500);

const ONLY_TRACES: &str = "--metrics-exporter=none";

fn start(settings: TelemetrySettings) -> Telemetry {
    let registry = MetricsRegistry::default();
    let desc = MetricDesc::new("depth", "Depth.");
    registry.single::<IntGauge>(desc).unwrap().set(1);
    let gather = move || registry.families();
    Telemetry::start(settings, "leaky-service", "1.2.3", gather).unwrap()
}

/// Starts the export of traces only.
fn start_traces(protocol: Protocol, address: SocketAddr, flags: &[&str]) -> Telemetry {
    start(settings(
        protocol,
        address,
        &[&[ONLY_TRACES], flags].concat(),
    ))
}

fn request(traceparent: Option<&str>) -> Request<()> {
    let mut request = Request::builder().uri("http://host/api/data");
    if let Some(parent) = traceparent {
        request = request.header("traceparent", parent);
    }
    request.body(()).unwrap()
}

/// Records a request with two child spans and returns its trace id.
fn record_request(tracer: &Tracer, traceparent: Option<&str>) -> String {
    let span = tracer.request(&request(traceparent), "/api/data");
    let trace_id = span.context().trace_id().to_string();
    record_child(span.context(), "first");
    record_child(span.context(), "second");
    span.end(StatusCode::OK);
    trace_id
}

fn record_child(request: &TraceContext, name: &'static str) {
    if let Some((tracer, parent)) = request.parent() {
        drop(tracer.start_with_context(name, &parent));
    }
}

#[tokio::test]
async fn a_request_without_an_endpoint_only_has_a_trace_id() {
    let telemetry = start(parse(&[]));
    let tracer = telemetry.tracer();
    let span = tracer.request(&request(None), "/api/data");
    assert_eq!(span.context().trace_id().to_string().len(), 32);
    assert!(span.context().parent().is_none());
    assert_eq!(
        record_request(&tracer, Some(&format!("00-{TRACE}-00f067aa0ba902b7-01"))),
        TRACE
    );
    assert_eq!(telemetry.queue_usage().bytes(), 0);
    assert!(telemetry.flush().await);
}

#[tokio::test]
async fn an_unsampled_request_keeps_its_trace_id_and_is_not_exported() {
    let collector = Collector::start(Protocol::Grpc).await;
    let telemetry = start_traces(Protocol::Grpc, collector.address, &[]);
    let tracer = telemetry.tracer();
    let unsampled = record_request(&tracer, Some(&format!("00-{TRACE}-00f067aa0ba902b7-00")));
    assert_eq!(unsampled, TRACE);
    let sampled = record_request(&tracer, None);
    assert!(telemetry.flush().await);
    let spans = collector.look(|received| received.spans());
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == sampled));

    let always_off = ["--traces-sampler=always_off"];
    let telemetry = start_traces(Protocol::Grpc, collector.address, &always_off);
    let trace_id = record_request(&telemetry.tracer(), None);
    assert_ne!(trace_id, "0".repeat(32));
    assert!(telemetry.flush().await);
    assert_eq!(collector.look(|received| received.spans().len()), 3);
}

#[tokio::test]
async fn a_dropped_request_is_exported_without_a_status() {
    let collector = Collector::start(Protocol::Grpc).await;
    let telemetry = start_traces(Protocol::Grpc, collector.address, &[]);
    drop(telemetry.tracer().request(&request(None), ""));
    telemetry
        .tracer()
        .request(&request(None), "/x")
        .end(StatusCode::INTERNAL_SERVER_ERROR);
    assert!(telemetry.flush().await);
    let spans = collector.look(|received| received.spans());
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(
        attribute(&named("GET").attributes, "http.response.status_code"),
        None
    );
    assert_eq!(
        attribute(&named("GET /x").attributes, "error.type").as_deref(),
        Some("500")
    );
    assert_eq!(
        named("GET /x").status.as_ref().unwrap().code(),
        SpanStatus::Error
    );
}

/// An address that refuses connections.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

async fn an_absent_collector_costs_nothing(protocol: Protocol) {
    let lines = Lines::default();
    let _log = lines.capture();
    let telemetry = start(settings(protocol, closed_port().await, &[]));
    let tracer = telemetry.tracer();
    let start = Instant::now();
    for _ in 0..5_000 {
        record_request(&tracer, None);
    }
    let spent = start.elapsed();
    assert!(
        spent < Duration::from_secs(2),
        "5000 requests took {spent:?}"
    );
    assert!(
        telemetry.queue_usage().bytes() <= 4 * MIB,
        "{}",
        telemetry.queue_usage().bytes()
    );
    assert!(
        telemetry.queue_usage().bytes() > 100_000,
        "{}",
        telemetry.queue_usage().bytes()
    );
    // During this time several exports of both signals fail.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    telemetry.flush().await;
    assert!(start.elapsed() < FLUSH_LIMIT);
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("WARN") && text.contains("lost="), "{text}");
}

#[tokio::test]
async fn an_absent_collector_costs_nothing_over_grpc() {
    an_absent_collector_costs_nothing(Protocol::Grpc).await;
}

#[tokio::test]
async fn an_absent_collector_costs_nothing_over_http() {
    an_absent_collector_costs_nothing(Protocol::HttpProtobuf).await;
}

#[tokio::test]
async fn a_flush_does_not_wait_for_a_silent_collector() {
    // The kernel accepts connections, and no code reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let address = listener.local_addr().unwrap();
        let telemetry = start(settings(protocol, address, &["--otlp-timeout=60000"]));
        record_request(&telemetry.tracer(), None);
        tokio::time::sleep(Duration::from_millis(100)).await;
        record_request(&telemetry.tracer(), None);
        assert!(telemetry.queue_usage().bytes() > 0);
        let start = Instant::now();
        assert!(!telemetry.flush().await);
        assert!(start.elapsed() < FLUSH_LIMIT);
    }
}

#[tokio::test]
async fn spans_wait_until_the_collector_restarts() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let address = closed_port().await;
        let telemetry = start_traces(protocol, address, &[]);
        let trace_id = record_request(&telemetry.tracer(), None);
        // The first export fails, a later one succeeds.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let collector = Collector::start_on(protocol, address).await;
        collector
            .wait_until(|received| received.spans().len() == 3)
            .await;
        assert_eq!(
            collector.look(|received| hex(&received.spans()[0].trace_id)),
            trace_id
        );
        assert!(telemetry.flush().await);
    }
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_the_delay() {
    let collector = Collector::start(Protocol::Grpc).await;
    let flags = [
        "--bsp-schedule-delay=60000",
        "--bsp-max-export-batch-size=6",
    ];
    let telemetry = start_traces(Protocol::Grpc, collector.address, &flags);
    record_request(&telemetry.tracer(), None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(collector.look(|received| received.spans().len()), 0);
    record_request(&telemetry.tracer(), None);
    collector
        .wait_until(|received| received.spans().len() == 6)
        .await;
    telemetry.flush().await;
}

/// The log of this thread, in memory.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let lines = self.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || lines.clone())
            .with_ansi(false);
        tracing::subscriber::set_default(log.finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
