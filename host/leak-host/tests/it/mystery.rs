//! What a mystery hides in the log and in what the host exports.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::OriginalUri;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::lab::{Answer, Lab, WAIT_TIMEOUT, wait_for};

/// Plugins whose names are in no log line and in no description of a metric.
const ROSTER: [&str; 9] = [
    "listeners",
    "metric-labels",
    "peak-buffers",
    "reference-cycle",
    "sawtooth",
    "sessions",
    "unbounded-queue",
    "uncancelled-timers",
    "warm-up",
];

/// Each request that a collector has received: its path, and its body as text. Names in protobuf
/// are plain UTF-8.
type Received = Arc<Mutex<Vec<(String, String)>>>;

async fn collector() -> (SocketAddr, Received) {
    let received = Received::default();
    let inbox = received.clone();
    let keep = move |OriginalUri(uri): OriginalUri, body: Bytes| async move {
        let text = String::from_utf8_lossy(&body).into_owned();
        inbox.lock().unwrap().push((uri.path().to_owned(), text));
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(keep);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

async fn call(lab: &Lab, method: Method, path: &str, body: Value) -> Value {
    let request = lab.request(method, path).bearer_auth("secret").json(&body);
    Answer::of(request).await.ok(path)
}

#[tokio::test]
async fn log_traces_and_exported_metrics_have_no_true_name() {
    let (address, received) = collector().await;
    let lab = Lab::with(&ROSTER)
        .args(["--instructor-token", "secret", "--log", "debug"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "500")
        .start()
        .await;
    let order = json!({"seed": 12, "difficulty": 5, "duration": "10s"});
    let logged_before = lab.output().len();
    call(&lab, Method::POST, "/admin/mystery", order).await;
    // What was being sent at the start belongs to the time before.
    sleep(Duration::from_millis(500)).await;
    received.lock().unwrap().clear();

    let truth = call(&lab, Method::GET, "/admin/mystery/truth", Value::Null).await;
    let players = truth["players"].as_array().unwrap().iter();
    let ids: Vec<&str> = players.map(|p| p["plugin"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 7);
    wait_for("the end of the game", WAIT_TIMEOUT, async || {
        let state = lab.get("/admin/mystery").await;
        (state["status"] == "over").then_some(()).ok_or(state)
    })
    .await;

    let log = lab.output();
    let log = log.get(logged_before..).unwrap();
    let received = received.lock().unwrap().clone();
    let of_path = |path: &str| -> String {
        let bodies = received.iter().filter(|(of, _)| of == path);
        bodies.map(|(_, body)| body.as_str()).collect()
    };
    let (traces, metrics) = (of_path("/v1/traces"), of_path("/v1/metrics"));
    // The search would find names: it finds the aliases.
    assert!(log.contains("plugin-a"), "{log}");
    assert!(traces.contains("invoke plugin-a"), "{} bytes", traces.len());
    assert!(
        metrics.contains("process_resident_memory_bytes"),
        "{metrics}"
    );
    // At level 5, metrics are those of the process.
    assert!(!metrics.contains("plugin-a"), "{metrics}");
    for id in ids {
        for name in [id.to_owned(), id.replace('-', "_")] {
            for (what, text) in [("log", log), ("traces", &traces), ("metrics", &metrics)] {
                assert!(!text.contains(&name), "{name} in the {what}");
            }
        }
    }
}
