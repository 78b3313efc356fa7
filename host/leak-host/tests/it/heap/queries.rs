//! Diffs against the host's own history, and plugins whose symbols cannot be read.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::payloads_gained;
use crate::lab::{Answer, Lab, number};

/// `since` compares with the state at that second, not with the last minute or the last change.
#[tokio::test]
async fn since_compares_with_the_state_at_that_second() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    lab.traffic(100).await;
    let all = lab.get("/admin/memory/diff?since=15m").await;
    assert_eq!(payloads_gained(&all), 100.0, "in the whole history: {all}");
    assert_eq!(all["plugins"]["cache"]["retained_objects_diff"], json!(100));

    tokio::time::sleep(Duration::from_secs(9)).await;
    lab.traffic(50).await;
    let recent = lab.get("/admin/memory/diff?since=5s").await;
    assert_eq!(payloads_gained(&recent), 50.0, "in the last 5 s: {recent}");
    assert_eq!(
        recent["plugins"]["cache"]["retained_objects_diff"],
        json!(50)
    );
    assert_eq!(recent["requests_since_baseline"], json!(50), "{recent}");
    assert_eq!(
        number(&recent, "/total_growth_bytes"),
        number(&recent, "/plugins/cache/heap_live_diff_bytes"),
        "{recent}"
    );
    let functions = lab
        .get("/admin/memory/diff?since=5s&group_by=function")
        .await;
    assert_eq!(functions["growing_allocations"][0]["count_diff"], json!(50));

    let drawn = Answer::of(lab.request(Method::GET, "/admin/memory/flamegraph?since=15m")).await;
    assert!(drawn.text.contains("on_request"), "{}", drawn.text);
    let unnamed = lab.get("/admin/memory/diff").await;
    assert_eq!(
        unnamed["status"],
        json!("baseline_set"),
        "`since` sets no baseline"
    );
}

/// What was cleared within the window would make the leaking line look as if it had shrunk.
#[tokio::test]
async fn a_window_with_a_clear_begins_after_it() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(100).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let whole = lab.get("/admin/memory/diff?since=5m").await;
    assert!(whole.get("window").is_none(), "{whole}");
    lab.post("/admin/leaks/clear", json!({"leak_type": "cache"}))
        .await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    lab.traffic(20).await;

    let diff = lab.get("/admin/memory/diff?since=5m").await;
    let window = diff["window"].as_str().unwrap();
    assert!(
        window.ends_with("instead of 300 s, after cache was cleared"),
        "{diff}"
    );
    assert_eq!(payloads_gained(&diff), 20.0, "{diff}");
    assert_eq!(diff["shrinking_allocations"], json!([]), "{diff}");
    assert_eq!(diff["requests_since_baseline"], json!(20), "{diff}");
    // Call stacks have the same bytes, although they are kept for each minute only.
    let stacks = lab.get("/admin/memory/diff?since=5m&group_by=trace").await;
    assert_eq!(stacks["total_growth_bytes"], diff["total_growth_bytes"]);
    let path = "/admin/memory/flamegraph?since=5m";
    let drawn = Answer::of(lab.request(Method::GET, path)).await.text;
    assert!(drawn.contains("after cache was cleared"), "{drawn}");
    // A window that begins after the clear is what was asked for.
    let short = lab.get("/admin/memory/diff?since=2s").await;
    assert!(short.get("window").is_none(), "{short}");
}

#[tokio::test]
async fn a_plugin_without_symbols_does_not_hide_the_others() {
    let lab = Lab::with(&["cache", "history"])
        .arg("--no-cache")
        .start()
        .await;
    // The compiled plugin runs, but the host has not read its symbols yet.
    std::fs::write(lab.plugins_folder().join("cache.wasm"), b"broken").unwrap();
    lab.enable("cache").await;
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
    lab.get("/admin/memory?all=true").await;
    lab.enable("history").await;
    lab.data().await;
    lab.get("/admin/memory/diff?since=1m").await;
    lab.get("/admin/memory/diff?since=1m&group_by=trace").await;
    let snapshot = lab.get("/admin/memory/snapshot").await;
    assert!(
        snapshot["by_line"][0]["plugin"] == json!("history"),
        "{snapshot}"
    );
    lab.get("/admin/memory?all=true").await;
    let path = "/admin/memory/snapshot?plugin=cache";
    let answer = Answer::of(lab.request(Method::GET, path)).await;
    assert!(answer.status.is_client_error(), "{}", answer.text);
}
