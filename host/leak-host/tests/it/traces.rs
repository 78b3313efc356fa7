//! A caller's trace goes through the service: from `traceparent` to what the collector is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
use crate::lab::Lab;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const ARRIVE_WITHIN: Duration = Duration::from_secs(30);

type Inbox = Arc<Mutex<Vec<Span>>>;

/// Takes OTLP over HTTP, and keeps the spans.
async fn collector() -> (SocketAddr, Inbox) {
    let inbox = Inbox::default();
    let kept = Arc::clone(&inbox);
    let take = move |body: Bytes| async move {
        let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
        let spans = request
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans);
        kept.lock().unwrap().extend(spans);
    };
    let router = Router::new()
        .route("/v1/traces", post(take))
        .route("/v1/metrics", post(async || ()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, inbox)
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn integer(span: &Span, key: &str) -> Option<i64> {
    let attribute = span.attributes.iter().find(|a| a.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

#[tokio::test]
async fn the_callers_trace_goes_on_through_the_plugins() {
    let (address, inbox) = collector().await;
    let lab = Lab::with(&LAB)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await;
    lab.enable("cache").await;
    lab.enable("history").await;
    let answer = lab
        .request(Method::GET, "/api/data")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .send()
        .await
        .unwrap();
    let given_back = answer.headers().get("traceparent").cloned();
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(answer["trace_id"], TRACE);

    let started = Instant::now();
    let spans = loop {
        let of_trace: Vec<Span> = inbox
            .lock()
            .unwrap()
            .iter()
            .filter(|span| hex(&span.trace_id) == TRACE)
            .cloned()
            .collect();
        if of_trace.len() >= 3 {
            break of_trace;
        }
        assert!(
            started.elapsed() < ARRIVE_WITHIN,
            "{} spans of the trace arrived: {}",
            of_trace.len(),
            lab.output()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let server = named("GET /api/data");
    assert_eq!(hex(&server.parent_span_id), CALLER);
    let given_back = given_back.expect("the answer names the span");
    assert_eq!(
        given_back,
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
async fn a_header_that_is_no_trace_starts_a_new_one() {
    let lab = Lab::with(&LAB).start().await;
    for wrong in [
        "",
        "00-0-0-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        let answer = lab
            .request(Method::GET, "/api/data")
            .header("traceparent", wrong)
            .send()
            .await
            .unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let id = answer["trace_id"].as_str().unwrap();
        assert_eq!(id.len(), 32, "{wrong:?}");
        assert!(id != TRACE && id.bytes().any(|byte| byte != b'0'), "{id}");
    }
}
