//! Post-mortem: after a host is killed, the next host on its address reports what retained the
//! memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::components::LAB;
use crate::lab::{Lab, LabBuilder, WAIT_TIMEOUT, number, wait_until};

/// A lab with the three leaks that writes its post-mortem documents to this folder.
fn lab(folder: &Path) -> LabBuilder {
    Lab::with(&LAB).args(["--post-mortem", folder.to_str().unwrap()])
}

/// Waits until the host has written a document that fulfils `holds`.
async fn wait_for_document(folder: &Path, what: &str, holds: impl Fn(&Value) -> bool) {
    wait_until(what, WAIT_TIMEOUT, async || {
        let addresses = fs::read_dir(folder).into_iter().flatten().flatten();
        let files = addresses.filter_map(|a| fs::read(a.path().join("running.json")).ok());
        let mut documents = files.filter_map(|f| serde_json::from_slice::<Value>(&f).ok());
        documents.any(|document| holds(&document))
    })
    .await;
}

#[tokio::test]
async fn the_document_follows_clears_and_omits_the_heaps_of_idle_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).start().await;
    wait_for_document(folder.path(), "a document without requests", |document| {
        document["snapshot"]["plugins"] == json!({})
            && document["memory"]["plugins"]["cache"].is_object()
    })
    .await;
    lab.enable("cache").await;
    lab.traffic(5).await;
    wait_for_document(
        folder.path(),
        "a document after five requests",
        |document| {
            let plugins = document["snapshot"]["plugins"].as_object().unwrap();
            document["requests"] == json!(5) && plugins.keys().eq(["cache"])
        },
    )
    .await;
    lab.post("/admin/reset", json!({})).await;
    wait_for_document(folder.path(), "a document after the reset", |document| {
        document["memory"]["plugins"]["cache"]["retained_bytes"] == json!(0)
    })
    .await;
}

/// The largest source line in the snapshot of the previous run.
fn top_line(body: &Value) -> &str {
    body["last"]["snapshot"]["by_line"][0]["location"]
        .as_str()
        .unwrap_or_else(|| panic!("no source line in {body}"))
}

#[tokio::test]
async fn the_next_host_names_the_line_that_reached_the_memory_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = lab(folder.path())
        .args(["--memory-limit", "96MiB"])
        .start()
        .await;
    let before = first.get("/admin/post-mortem").await;
    assert_eq!(before["status"], "none", "{before}");
    let settings = json!({"enabled": true, "payload_bytes": 64 * 1024});
    first.configure("cache", settings).await;
    let started = Instant::now();
    // Slow enough for the sampler, which takes one reading a second.
    while first
        .http()
        .get(first.url("/api/data"))
        .send()
        .await
        .is_ok()
    {
        tokio::time::sleep(Duration::from_millis(8)).await;
        let waited = started.elapsed();
        assert!(waited < Duration::from_secs(120), "the host still runs");
    }
    let status = first.exits_within(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(137));

    let second = lab(folder.path()).start().await;
    let body = second.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "found", "{body}");
    assert!(
        body["cause"].as_str().unwrap().contains("limit 96.0 MiB"),
        "{body}"
    );
    assert!(
        top_line(&body).starts_with("plugins/cache/src/lib.rs:"),
        "{}",
        top_line(&body)
    );
    assert!(number(&body, "/last/requests") > 0.0);
    assert_eq!(number(&body, "/last/memory/process/limit_mb"), 96.0);
    let samples = body["last"]["samples"].as_array().unwrap();
    assert!(!samples.is_empty() && samples.len() <= 300);
    let retained = number(&body, "/last/memory/plugins/cache/retained_bytes");
    assert!(retained > 1e6, "{retained}");
}

#[tokio::test]
async fn the_next_host_shows_the_last_readings_of_a_killed_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = lab(folder.path()).start().await;
    first.enable("history").await;
    first.traffic(50).await;
    wait_for_document(folder.path(), "a document", |_| true).await;
    first.signal("KILL");
    first.exits_within(Duration::from_secs(10)).await;

    let second = lab(folder.path()).start().await;
    let body = second.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "found", "{body}");
    assert_eq!(body["cause"], Value::Null);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("killed or crashed")
    );
    assert!(body["last_seen"].is_string());
}

#[tokio::test]
async fn a_host_that_exits_after_sigterm_leaves_no_post_mortem() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = lab(folder.path()).start().await;
    first.enable("history").await;
    first.traffic(20).await;
    wait_for_document(folder.path(), "a document", |_| true).await;
    first.signal("TERM");
    let status = first.exits_within(Duration::from_secs(20)).await;
    assert!(status.success(), "{status}");
    let second = lab(folder.path()).start().await;
    let body = second.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "none", "{body}");
}

#[tokio::test]
async fn no_post_mortem_turns_the_post_mortem_off() {
    let lab = Lab::with(&LAB).arg("--no-post-mortem").start().await;
    let body = lab.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "off", "{body}");
    assert!(body["message"].as_str().unwrap().contains("--post-mortem"));
}

#[tokio::test]
async fn an_unreadable_document_is_reported_as_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("127.0.0.1-0");
    fs::create_dir_all(&address).unwrap();
    fs::write(address.join("running.json"), b"half a docu").unwrap();
    let lab = lab(folder.path()).start().await;
    let body = lab.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "found", "{body}");
    assert_eq!(body["last"], Value::Null);
    assert!(body["message"].as_str().unwrap().contains("cannot be read"));
}
