//! The heaps as profiles over OTLP, as a collector receives them.

#[path = "../../../../lab/tests/profiles/conformance.rs"]
mod conformance;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::profiles::v1development::{Profile, ProfilesDictionary};
use prost::Message as _;
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{at, cache_payload_line, rows};
use crate::lab::{Answer, Lab, LabBuilder, WAIT_TIMEOUT, number, wait_for};

const PROFILES: &str = "/v1development/profiles";

/// The shortest interval.
const INTERVAL: Duration = Duration::from_secs(10);

/// The path and the body of each request.
type Inbox = Arc<Mutex<Vec<(String, Bytes)>>>;

/// A collector for OTLP over HTTP that answers requests for profiles with this status.
async fn collector(status: StatusCode) -> (SocketAddr, Inbox) {
    let inbox = Inbox::default();
    let received = inbox.clone();
    let receive = move |OriginalUri(uri): OriginalUri, body: Bytes| async move {
        let path = uri.path().to_owned();
        let is_profile = path == PROFILES;
        received.lock().unwrap().push((path, body));
        if is_profile { status } else { StatusCode::OK }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(receive);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, inbox)
}

/// A lab that exports to this collector.
fn exporting(plugins: &[&str], collector: SocketAddr, profiles: &str) -> LabBuilder {
    Lab::with(plugins)
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{collector}"),
        )
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        .env("LEAK_OTLP_PROFILES", profiles)
}

/// How many requests came to a path.
fn count(inbox: &Inbox, path: &str) -> usize {
    let inbox = inbox.lock().unwrap();
    inbox.iter().filter(|(to, _)| to == path).count()
}

/// All requests with profiles.
fn requests(inbox: &Inbox) -> Vec<(ExportProfilesServiceRequest, usize)> {
    let inbox = inbox.lock().unwrap();
    let profiles = inbox.iter().filter(|(path, _)| path == PROFILES);
    profiles
        .map(|(_, body)| {
            let request = ExportProfilesServiceRequest::decode(body.clone()).unwrap();
            (request, body.len())
        })
        .collect()
}

fn text(tables: &ProfilesDictionary, index: i32) -> &str {
    &tables.string_table[usize::try_from(index).unwrap()]
}

fn attribute(profile: &Profile, tables: &ProfilesDictionary, key: &str) -> String {
    let attributes = profile.attribute_indices.iter();
    let mut attributes = attributes.map(|i| &tables.attribute_table[usize::try_from(*i).unwrap()]);
    let found = attributes.find(|attribute| text(tables, attribute.key_strindex) == key);
    match found.and_then(|a| a.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(value)) => value.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

/// The sum of the samples whose stacks contain a line.
fn sum_through(profile: &Profile, tables: &ProfilesDictionary, place: &str) -> i64 {
    let index = |index: i32| usize::try_from(index).unwrap();
    let has_line = |location: i32| {
        let location = &tables.location_table[index(location)];
        location.lines.iter().any(|line| {
            let function = &tables.function_table[index(line.function_index)];
            let file = text(tables, function.filename_strindex);
            format!("{file}:{}", line.line) == place
        })
    };
    let samples = profile.samples.iter().filter(|sample| {
        let stack = &tables.stack_table[index(sample.stack_index)];
        stack.location_indices.iter().any(|i| has_line(*i))
    });
    samples.flat_map(|sample| &sample.values).sum()
}

#[tokio::test]
async fn a_collector_gets_the_plugins_line_and_its_sums() {
    let (address, inbox) = collector(StatusCode::OK).await;
    let plugins = ["cache", "history"];
    let lab = exporting(&plugins, address, "10s").start().await;
    lab.enable("cache").await;
    lab.traffic(100).await;
    let line = cache_payload_line();
    let snapshot = lab.get(super::ALL_LINES).await;
    let row = at(rows(&snapshot, "by_line"), &line).unwrap();
    let expected = [number(row, "/size_bytes"), number(row, "/count")];

    let (request, bytes) = wait_for("a profile of the cache", 2 * WAIT_TIMEOUT, async || {
        let mut requests = requests(&inbox);
        let count = requests.len();
        requests.retain(|(request, _)| {
            let profile = &request.resource_profiles[0].scope_profiles[0].profiles[0];
            let tables = request.dictionary.as_ref().unwrap();
            attribute(profile, tables, "plugin") == "cache"
        });
        requests.pop().ok_or(count)
    })
    .await;
    println!("{bytes} bytes");
    let tables = request.dictionary.as_ref().unwrap();
    let [resource] = &request.resource_profiles[..] else {
        panic!("one resource: {request:?}");
    };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    let service = attributes.iter().find(|a| a.key == "service.name").unwrap();
    let value = service.value.as_ref().and_then(|v| v.value.as_ref());
    assert!(matches!(value, Some(Value::StringValue(name)) if !name.is_empty()));
    let scope = &resource.scope_profiles[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "leak-host");
    conformance::check(&scope.profiles, tables);
    let sums: Vec<_> = scope
        .profiles
        .iter()
        .map(|profile| sum_through(profile, tables, &line) as f64)
        .collect();
    assert_eq!(sums, expected);
    // One request holds one plugin.
    assert!(bytes < 200_000, "{bytes} bytes");
}

#[tokio::test]
async fn a_collector_that_takes_no_profiles_is_reported_once_and_gets_the_rest() {
    let (address, inbox) = collector(StatusCode::NOT_FOUND).await;
    let lab = exporting(&["cache"], address, "10s").start().await;
    lab.enable("cache").await;
    lab.traffic(10).await;
    wait_for("three refused exports", 2 * WAIT_TIMEOUT, async || {
        let count = count(&inbox, PROFILES);
        (count >= 3).then_some(()).ok_or(count)
    })
    .await;
    let log = lab.output();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains("profiles"))
        .collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("404"), "{log}");
    assert!(warnings[0].contains("service.profilesSupport"), "{log}");
    assert!(!log.contains("telemetry does not reach"), "{log}");
    assert!(count(&inbox, "/v1/metrics") >= 20);
    assert!(count(&inbox, "/v1/traces") >= 1);
}

#[tokio::test]
async fn no_profile_leaves_the_host_unless_it_is_asked_for() {
    let (address, inbox) = collector(StatusCode::OK).await;
    let lab = exporting(&["cache"], address, "off").start().await;
    lab.enable("cache").await;
    lab.traffic(10).await;
    sleep(INTERVAL + Duration::from_secs(3)).await;
    assert!(count(&inbox, "/v1/metrics") >= 5);
    assert_eq!(count(&inbox, PROFILES), 0);
}

#[tokio::test]
async fn a_mystery_that_hides_lines_sends_no_profile() {
    let (address, inbox) = collector(StatusCode::OK).await;
    let plugins = [
        "cache",
        "history",
        "sessions",
        "sawtooth",
        "warm-up",
        "listeners",
    ];
    let lab = exporting(&plugins, address, "10s").start().await;
    let order = json!({"seed": 12, "difficulty": 3, "duration": "60s"});
    lab.post("/admin/mystery", order).await;
    // What was being sent at the start belongs to the time before.
    sleep(Duration::from_millis(500)).await;
    inbox.lock().unwrap().clear();
    sleep(2 * INTERVAL + Duration::from_secs(1)).await;
    let state = lab.get("/admin/mystery").await;
    assert_eq!(state["status"], json!("running"), "{state}");
    assert_eq!(count(&inbox, PROFILES), 0);
    // The end puts the players away, with their heaps.
    let ended = Answer::of(lab.request(Method::DELETE, "/admin/mystery")).await;
    assert_eq!(ended.status, StatusCode::OK, "{}", ended.text);
    lab.enable("cache").await;
    lab.traffic(10).await;
    wait_for("profiles after the game", WAIT_TIMEOUT, async || {
        let count = count(&inbox, PROFILES);
        (count > 0).then_some(()).ok_or(count)
    })
    .await;
}
