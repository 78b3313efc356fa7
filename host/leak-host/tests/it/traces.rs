//! Trace propagation: from the caller's `traceparent` header to the spans that the collector
//! receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::Method;
use tokio::net::TcpListener;

use crate::components::LAB;
use crate::lab::{Lab, WAIT_TIMEOUT, wait_for};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The spans that the collector has received.
type Inbox = Arc<Mutex<Vec<Span>>>;

/// Starts a collector for OTLP over HTTP. Returns its address and the spans that it receives.
async fn collector() -> (SocketAddr, Inbox) {
    let inbox = Inbox::default();
    let received = Arc::clone(&inbox);
    let receive = move |body: Bytes| async move {
        let request = ExportTraceServiceRequest::decode(body).expect("the body is OTLP");
        let spans = request
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans);
        received.lock().unwrap().extend(spans);
    };
    let router = Router::new()
        .route("/v1/traces", post(receive))
        .route("/v1/metrics", post(async || ()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, inbox)
}

/// A lab with the leaks of the exercises that exports its traces at once, and what it exports.
async fn traced_lab() -> (Lab, Inbox) {
    let (address, inbox) = collector().await;
    let lab = Lab::with(&LAB)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await;
    (lab, inbox)
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An integer attribute of a span.
fn integer(span: &Span, key: &str) -> Option<i64> {
    let attribute = span.attributes.iter().find(|a| a.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

#[tokio::test]
async fn the_spans_of_the_plugin_calls_belong_to_the_callers_trace() {
    let (lab, inbox) = traced_lab().await;
    lab.enable("cache").await;
    lab.enable("history").await;
    let answer = lab
        .request(Method::GET, "/api/data")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .send()
        .await
        .unwrap();
    let traceparent = answer.headers().get("traceparent").cloned();
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(answer["trace_id"], TRACE);

    let spans = wait_for("three spans of the trace", WAIT_TIMEOUT, async || {
        let mut spans = inbox.lock().unwrap().clone();
        spans.retain(|span| hex(&span.trace_id) == TRACE);
        let count = spans.len();
        (count >= 3).then_some(spans).ok_or(count)
    })
    .await;
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let server = named("GET /api/data");
    assert_eq!(hex(&server.parent_span_id), CALLER);
    let traceparent = traceparent.expect("the answer has a traceparent");
    assert_eq!(
        traceparent,
        format!("00-{TRACE}-{}-01", hex(&server.span_id))
    );
    for plugin in ["cache", "history"] {
        let call = named(&format!("invoke {plugin}"));
        assert_eq!(call.parent_span_id, server.span_id);
        let before = integer(call, "leak.retained_bytes.before").unwrap();
        let after = integer(call, "leak.retained_bytes.after").unwrap();
        assert!(after > before, "{plugin} retained {before}, then {after}");
    }
}

#[tokio::test]
async fn health_checks_and_scrapes_are_not_traced() {
    let (lab, inbox) = traced_lab().await;
    for path in ["/health", "/health/ready", "/metrics", "/admin/memory"] {
        let answer = lab.request(Method::GET, path).send().await.unwrap();
        assert!(answer.headers().contains_key("traceparent"), "{path}");
    }
    // Spans are exported in their order, so those of the calls before would be there too.
    let named = |name: &'static str| {
        let inbox = inbox.clone();
        move || inbox.lock().unwrap().iter().any(|span| span.name == name)
    };
    wait_for("the span of the last call", WAIT_TIMEOUT, async || {
        named("GET /admin/memory")().then_some(()).ok_or("none")
    })
    .await;
    for name in ["GET /health", "GET /health/ready", "GET /metrics"] {
        assert!(!named(name)(), "{name} has a span");
    }
}

#[tokio::test]
async fn an_invalid_traceparent_starts_a_new_trace() {
    let lab = Lab::with(&LAB).start().await;
    for invalid in [
        "",
        "00-0-0-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        let answer = lab
            .request(Method::GET, "/api/data")
            .header("traceparent", invalid)
            .send()
            .await
            .unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let id = answer["trace_id"].as_str().unwrap();
        assert_eq!(id.len(), 32, "{invalid:?}");
        assert!(id != TRACE && id.bytes().any(|byte| byte != b'0'), "{id}");
    }
}
