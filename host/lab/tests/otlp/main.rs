//! The metrics of the lab and the spans of plugin calls, exported to a collector in this process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails at the first unexpected result"
)]

#[path = "../../../telemetry/tests/otlp/collector.rs"]
mod collector;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use collector::{Collector, Protocol, Received, attribute, hex, settings};
use lab::metrics::Metrics;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode as SpanStatus};
use plugin_host::dispatch::invocation_span::{InvocationEnd, InvocationSpan};
use plugin_host::instance::Retained;
use plugin_host::metrics::InvocationOutcome;
use telemetry::metrics::family::AnyFamily;
use telemetry::traces::Tracer;
use telemetry::{Telemetry, TelemetrySettings};
use tokio::net::TcpListener;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const MIB: u64 = 1 << 20;

fn start(
    settings: TelemetrySettings,
    gather: impl Fn() -> Vec<Arc<dyn AnyFamily>> + Send + Sync + 'static,
) -> Telemetry {
    Telemetry::start(settings, "leaky-service", "1.2.3", gather).unwrap()
}

/// Starts the export of traces only.
fn start_traces(protocol: Protocol, address: SocketAddr) -> Telemetry {
    let settings = settings(protocol, address, &["--metrics-exporter=none"]);
    start(settings, Vec::new)
}

fn latest_metrics(received: &Received) -> Vec<Metric> {
    let requests = received.metrics.last().into_iter();
    requests
        .flat_map(|metrics| &metrics.resource_metrics)
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| scope.metrics.clone())
        .collect()
}

fn request(traceparent: Option<&str>) -> Request<()> {
    let mut request = Request::builder()
        .uri("http://host/api/data?secret=1")
        .header("user-agent", "k6/1.8");
    if let Some(parent) = traceparent {
        request = request.header("traceparent", parent);
    }
    request.body(()).unwrap()
}

const LEAKED: InvocationEnd = InvocationEnd {
    outcome: InvocationOutcome::Ok,
    generation: 3,
    retained_before: Retained {
        objects: 9,
        bytes: 46_080,
    },
    retained_after: Retained {
        objects: 10,
        bytes: 51_200,
    },
    live_bytes_delta: Some(5_200),
    waited: Duration::from_micros(250),
};

/// Records one request with two plugin calls and returns its trace id.
fn leak_once(tracer: &Tracer, traceparent: Option<&str>) -> String {
    let span = tracer.request(&request(traceparent), "/api/data");
    let trace_id = span.context().trace_id().to_string();
    let mut call = InvocationSpan::start(span.context(), &Arc::from("cache"));
    call.memory_grew(MIB, 2 * MIB);
    call.end(&LEAKED);
    let failed = InvocationSpan::start(span.context(), &Arc::from("history"));
    failed.end(&InvocationEnd {
        outcome: InvocationOutcome::Trap,
        live_bytes_delta: None,
        ..LEAKED
    });
    span.end(StatusCode::OK);
    trace_id
}

async fn spans_arrive(protocol: Protocol) {
    let collector = Collector::start(protocol).await;
    let telemetry = start_traces(protocol, collector.address);
    let trace_id = leak_once(
        &telemetry.tracer(),
        Some(&format!("00-{TRACE}-00f067aa0ba902b7-01")),
    );
    assert_eq!(trace_id, TRACE);
    assert!(
        telemetry.queue_usage().bytes() > 3 * 300,
        "{}",
        telemetry.queue_usage().bytes()
    );
    collector
        .wait_until(|received| received.spans().len() == 3)
        .await;

    let spans = collector.look(|received| received.spans());
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (server, cache, history) = (
        named("GET /api/data"),
        named("invoke cache"),
        named("invoke history"),
    );
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(server.kind(), SpanKind::Server);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/api/data"),
        ("http.response.status_code", "200"),
        ("url.path", "/api/data"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "k6/1.8"),
    ] {
        assert_eq!(
            attribute(&server.attributes, key).as_deref(),
            Some(value),
            "{key}"
        );
    }
    assert!(!format!("{server:?}").contains("secret"));
    for (span, plugin) in [(cache, "cache"), (history, "history")] {
        assert_eq!(span.parent_span_id, server.span_id);
        assert_eq!(span.kind(), SpanKind::Internal);
        assert_eq!(
            attribute(&span.attributes, "leak.plugin").as_deref(),
            Some(plugin)
        );
    }
    for (key, value) in [
        ("leak.outcome", "ok"),
        ("leak.generation", "3"),
        ("leak.retained_bytes.before", "46080"),
        ("leak.retained_bytes.after", "51200"),
        ("leak.retained_objects.before", "9"),
        ("leak.retained_objects.after", "10"),
        ("leak.heap_live_bytes.delta", "5200"),
        ("leak.wait_seconds", "0.00025"),
    ] {
        assert_eq!(
            attribute(&cache.attributes, key).as_deref(),
            Some(value),
            "{key}"
        );
    }
    assert_eq!(cache.status.as_ref().unwrap().code(), SpanStatus::Unset);
    assert_eq!(cache.events.len(), 1);
    assert_eq!(cache.events[0].name, "linear_memory.grow");
    assert_eq!(
        attribute(&cache.events[0].attributes, "linear_memory.bytes.after").as_deref(),
        Some("2097152")
    );
    assert_eq!(
        attribute(&history.attributes, "leak.outcome").as_deref(),
        Some("trap")
    );
    assert_eq!(
        attribute(&history.attributes, "leak.heap_live_bytes.delta"),
        None
    );
    assert_eq!(history.status.as_ref().unwrap().code(), SpanStatus::Error);

    collector.look(|received| {
        let resource = received.traces[0].resource_spans[0]
            .resource
            .as_ref()
            .unwrap();
        for (key, value) in [
            ("service.name", "leaky-service"),
            ("service.version", "1.2.3"),
            ("deployment.environment.name", "test"),
        ] {
            assert_eq!(
                attribute(&resource.attributes, key).as_deref(),
                Some(value),
                "{key}"
            );
        }
        assert_eq!(received.headers[0].get("x-lab").unwrap(), "leak lab");
    });
    // The queue no longer counts delivered spans.
    for _ in 0..100 {
        if telemetry.queue_usage().bytes() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(telemetry.queue_usage().bytes(), 0);
    assert!(telemetry.flush().await);
}

#[tokio::test]
async fn spans_arrive_over_grpc() {
    spans_arrive(Protocol::Grpc).await;
}

#[tokio::test]
async fn spans_arrive_over_http() {
    spans_arrive(Protocol::HttpProtobuf).await;
}

async fn metrics_arrive(protocol: Protocol) {
    let collector = Collector::start(protocol).await;
    let metrics = Arc::new(Metrics::new("leaky-service", "1", "r").unwrap());
    let cache = metrics.plugins.for_plugin("cache").unwrap();
    cache.set_retained(10, 51_200);
    cache.invoked(
        InvocationOutcome::Ok,
        Duration::from_micros(70),
        Some(5_200),
    );
    cache.invoked(InvocationOutcome::Ok, Duration::from_secs(60), Some(0));
    let gather = {
        let (metrics, history) = (
            Arc::clone(&metrics),
            metrics.plugins.for_plugin("history").unwrap(),
        );
        move || {
            // Some gauges are set by the gatherer. A push calls it like a scrape does.
            history.set_retained(2, 4_096);
            metrics.families()
        }
    };
    let telemetry = start(settings(protocol, collector.address, &[]), gather);
    collector
        .wait_until(|received| received.metrics.len() >= 2)
        .await;

    let arrived = collector.look(latest_metrics);
    let scraped = metrics.families();
    let names = |names: &mut dyn Iterator<Item = String>| names.collect::<BTreeSet<_>>();
    assert_eq!(
        names(&mut arrived.iter().map(|metric| metric.name.clone())),
        names(&mut scraped.iter().map(|family| family.desc().name.to_owned())),
    );
    let named = |name: &str| arrived.iter().find(|metric| metric.name == name).unwrap();
    let retained = named("leak_retained_bytes");
    assert_eq!(retained.unit, "By");
    let Some(Data::Gauge(gauge)) = &retained.data else {
        panic!("{retained:?}")
    };
    assert_eq!(
        attribute(&gauge.data_points[0].attributes, "plugin").as_deref(),
        Some("cache")
    );
    assert_eq!(
        gauge.data_points[0].value,
        Some(number_data_point::Value::AsDouble(51_200.0))
    );
    assert_eq!(
        gauge.data_points[1].value,
        Some(number_data_point::Value::AsDouble(4_096.0))
    );
    let invocations = named("leak_plugin_invocations_total");
    let Some(Data::Sum(sum)) = &invocations.data else {
        panic!("{invocations:?}")
    };
    assert!(sum.is_monotonic);
    let ok =
        |point: &&NumberDataPoint| attribute(&point.attributes, "outcome").as_deref() == Some("ok");
    let point = sum.data_points.iter().find(ok).unwrap();
    assert_eq!(point.value, Some(number_data_point::Value::AsDouble(2.0)));
    assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano < point.time_unix_nano);
    let durations = named("leak_plugin_invocation_duration_seconds");
    assert_eq!(durations.unit, "s");
    let Some(Data::Histogram(histogram)) = &durations.data else {
        panic!("{durations:?}")
    };
    let point = &histogram.data_points[0];
    assert_eq!(point.count, 2);
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(
        (point.bucket_counts[1], point.bucket_counts.last()),
        (1, Some(&1))
    );
    // A gauge of NaN has no value, so it has no data point.
    let Some(Data::Gauge(gauge)) = &named("leak_memory_bytes_per_request").data else {
        panic!()
    };
    assert!(gauge.data_points.is_empty());

    // The flush sends the last change.
    cache.set_retained(11, 56_320);
    assert!(telemetry.flush().await);
    let arrived = collector.look(latest_metrics);
    let retained = arrived
        .iter()
        .find(|metric| metric.name == "leak_retained_bytes")
        .unwrap();
    let Some(Data::Gauge(gauge)) = &retained.data else {
        panic!("{retained:?}")
    };
    assert_eq!(
        gauge.data_points[0].value,
        Some(number_data_point::Value::AsDouble(56_320.0))
    );
}

#[tokio::test]
async fn metrics_arrive_over_grpc() {
    metrics_arrive(Protocol::Grpc).await;
}

#[tokio::test]
async fn metrics_arrive_over_http() {
    metrics_arrive(Protocol::HttpProtobuf).await;
}

#[test]
fn disabled_tracing_is_cheap() {
    let tracer = Tracer::disabled();
    let request = request(None);
    const ROUNDS: u32 = 100_000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let span = tracer.request(&request, "/api/data");
        let call = InvocationSpan::start(span.context(), &Arc::from("cache"));
        call.end(&LEAKED);
        std::hint::black_box(span).end(StatusCode::OK);
    }
    let each = start.elapsed() / ROUNDS;
    println!("a request with one call, not recorded: {each:?}");
    assert!(each < Duration::from_micros(20), "{each:?}");
}

#[tokio::test]
async fn recording_is_cheap() {
    // The test blocks the runtime's only thread, so no task takes spans out of the queue.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let telemetry = start_traces(Protocol::Grpc, listener.local_addr().unwrap());
    let tracer = telemetry.tracer();
    let request = request(None);
    const ROUNDS: u32 = 1_000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let span = tracer.request(&request, "/api/data");
        InvocationSpan::start(span.context(), &Arc::from("cache")).end(&LEAKED);
        span.end(StatusCode::OK);
    }
    let each = start.elapsed() / ROUNDS;
    let bytes = telemetry.queue_usage().bytes() / (2 * u64::from(ROUNDS));
    println!("a request with one call, recorded: {each:?}, {bytes} bytes a span");
    assert!(each < Duration::from_micros(100), "{each:?}");
    assert!((300..3_000).contains(&bytes), "{bytes}");
}
