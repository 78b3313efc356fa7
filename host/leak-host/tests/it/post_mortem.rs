//! After a death: the next host on the address says what held the memory of the last one.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::components::LAB;
use crate::lab::{Lab, LabBuilder, number};

const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

fn lab(folder: &Path) -> LabBuilder {
    Lab::with(&LAB)
        .arg("--post-mortem")
        .arg(folder.to_str().unwrap())
}

/// Waits until the running host has written something down.
async fn written(folder: &Path, lab: &Lab) {
    let started = Instant::now();
    let is_there = || {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|address| address.path().join("running.json").is_file())
    };
    while !is_there() {
        assert!(
            started.elapsed() < WRITTEN_WITHIN,
            "nothing is written: {}",
            lab.output()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the running host has written down last.
async fn until_written(folder: &Path, what: &str, holds: impl Fn(&Value) -> bool) {
    let started = Instant::now();
    loop {
        let addresses = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let files = addresses.filter_map(|a| std::fs::read(a.path().join("running.json")).ok());
        let mut documents = files.filter_map(|f| serde_json::from_slice::<Value>(&f).ok());
        if documents.any(|document| holds(&document)) {
            return;
        }
        assert!(started.elapsed() < WRITTEN_WITHIN, "not written: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_written_follows_what_is_given_back_and_has_no_symbols_of_the_idle() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path()).start().await;
    until_written(folder.path(), "the start", |document| {
        document["snapshot"]["plugins"] == json!({})
            && document["memory"]["plugins"]["cache"].is_object()
    })
    .await;
    lab.enable("cache").await;
    lab.traffic(5).await;
    until_written(folder.path(), "the requests", |document| {
        let plugins = document["snapshot"]["plugins"].as_object().unwrap();
        document["requests"] == json!(5) && plugins.keys().eq(["cache"])
    })
    .await;
    lab.post("/admin/reset", json!({})).await;
    until_written(folder.path(), "the reset", |document| {
        document["memory"]["plugins"]["cache"]["retained_bytes"] == json!(0)
    })
    .await;
}

fn top_line(body: &Value) -> &str {
    body["last"]["snapshot"]["by_line"][0]["location"]
        .as_str()
        .unwrap_or_else(|| panic!("no line: {body}"))
}

#[tokio::test]
async fn after_the_limit_the_next_host_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = lab(folder.path())
        .arg("--memory-limit")
        .arg("96MiB")
        .start()
        .await;
    let before = first.get("/admin/post-mortem").await;
    assert_eq!(before["status"], "none", "{before}");
    first
        .post(
            "/admin/leaks/cache",
            json!({"enabled": true, "payload_bytes": 64 * 1024}),
        )
        .await;
    let started = Instant::now();
    // Slow enough to be seen by the clock of one second.
    while first
        .http()
        .get(first.url("/api/data"))
        .send()
        .await
        .is_ok()
    {
        tokio::time::sleep(Duration::from_millis(8)).await;
        assert!(started.elapsed() < Duration::from_secs(120), "it lives");
    }
    let status = first.ends_within(Duration::from_secs(10)).await;
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
async fn a_host_that_is_killed_leaves_its_last_readings() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = lab(folder.path()).start().await;
    first.enable("history").await;
    first.traffic(50).await;
    written(folder.path(), &first).await;
    first.signal("KILL");
    first.ends_within(Duration::from_secs(10)).await;

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
async fn a_host_that_is_asked_to_end_is_not_dead() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = lab(folder.path()).start().await;
    first.enable("history").await;
    first.traffic(20).await;
    written(folder.path(), &first).await;
    first.signal("TERM");
    let status = first.ends_within(Duration::from_secs(20)).await;
    assert!(status.success(), "{status}");
    let second = lab(folder.path()).start().await;
    let body = second.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "none", "{body}");
}

#[tokio::test]
async fn without_a_folder_nothing_is_kept() {
    let lab = Lab::with(&LAB).arg("--no-post-mortem").start().await;
    let body = lab.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "off", "{body}");
    assert!(body["message"].as_str().unwrap().contains("--post-mortem"));
}

#[tokio::test]
async fn a_document_that_is_no_document_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("127.0.0.1-0");
    std::fs::create_dir_all(&address).unwrap();
    std::fs::write(address.join("running.json"), b"half a docu").unwrap();
    let lab = lab(folder.path()).start().await;
    let body = lab.get("/admin/post-mortem").await;
    assert_eq!(body["status"], "found", "{body}");
    assert_eq!(body["last"], Value::Null);
    assert!(body["message"].as_str().unwrap().contains("cannot be read"));
}
