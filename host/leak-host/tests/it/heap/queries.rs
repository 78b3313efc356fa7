//! What can be asked for, and what is no question.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{cache_payload_line, payloads_gained, refused, rows};
use crate::components::LAB;
use crate::lab::{Answer, Lab, number};

const READERS: [&str; 5] = [
    "/admin/memory/snapshot",
    "/admin/memory/diff",
    "/admin/memory/history",
    "/admin/memory/flamegraph",
    "/debug/pprof/heap",
];

#[tokio::test]
async fn nonsense_is_refused_and_changes_nothing() {
    let lab = Lab::with(&["cache"]).start().await;
    super::put_baseline(&lab, "b").await;
    for reader in READERS {
        let path = format!("{reader}?plugin=nope");
        refused(&lab, Method::GET, &path, 404, "unknown_plugin").await;
        let path = format!("{reader}?colour=red");
        refused(&lab, Method::GET, &path, 422, "invalid_query").await;
    }
    for reader in &READERS[..3] {
        for limit in ["0", "1001", "-1", "many", "1.5", ""] {
            let path = format!("{reader}?limit={limit}");
            refused(&lab, Method::GET, &path, 422, "invalid_value").await;
        }
    }
    for reader in ["/admin/memory/snapshot", "/admin/memory/diff"] {
        let path = format!("{reader}?group_by=colour");
        refused(&lab, Method::GET, &path, 422, "invalid_value").await;
    }
    for reader in ["/admin/memory/diff", "/admin/memory/flamegraph"] {
        for since in [
            "",
            "5",
            "soon",
            "16m",
            "0s",
            "-5m",
            "5h",
            "%F0%9F%98%80",
            "5%C2%B5",
        ] {
            let path = format!("{reader}?since={since}");
            refused(&lab, Method::GET, &path, 422, "invalid_value").await;
        }
        let path = format!("{reader}?since=5m&baseline=b");
        refused(&lab, Method::GET, &path, 422, "invalid_value").await;
    }
    for reader in [
        "/admin/memory/snapshot",
        "/admin/memory/history",
        "/debug/pprof/heap",
    ] {
        let path = format!("{reader}?baseline=b");
        refused(&lab, Method::GET, &path, 422, "invalid_value").await;
    }
    let first = lab.get("/admin/memory/diff").await;
    assert_eq!(
        first["status"],
        json!("baseline_set"),
        "a refused diff sets no baseline"
    );
}

#[tokio::test]
async fn rows_can_be_grouped_narrowed_and_counted() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    lab.get("/admin/memory/diff").await;
    super::put_baseline(&lab, "b").await;
    lab.traffic(50).await;

    let functions = lab
        .get("/admin/memory/diff?baseline=b&plugin=cache&group_by=function")
        .await;
    let location = functions["growing_allocations"][0]["location"].as_str();
    assert!(location.unwrap().contains("on_request"), "{functions}");
    let files = lab
        .get("/admin/memory/diff?baseline=b&plugin=cache&group_by=file")
        .await;
    assert_eq!(
        files["growing_allocations"][0]["location"],
        json!("plugins/cache/src/lib.rs")
    );
    let names: Vec<_> = files["plugins"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["cache"]);

    let traces = lab
        .get("/admin/memory/diff?baseline=b&plugin=cache&group_by=trace")
        .await;
    let top = &traces["growing_allocations"][0];
    assert_eq!(top["location"], json!(cache_payload_line()));
    assert_eq!(top["count_diff"], json!(50));
    let trace = rows(top, "trace");
    assert!(
        trace
            .iter()
            .any(|frame| frame["location"] == json!(cache_payload_line())),
        "{top}"
    );
    assert!(trace.len() > 2, "the SDK called it: {top}");

    let one = lab.get("/admin/memory/snapshot?limit=1").await;
    assert_eq!(rows(&one, "by_line").len(), 1);
    let one = lab.get("/admin/memory/diff?baseline=b&limit=1").await;
    assert_eq!(rows(&one, "growing_allocations").len(), 1);
    assert!(
        rows(&one, "growing_allocations")[0]["size_diff_bytes"].as_f64()
            < one["total_growth_bytes"].as_f64(),
        "the total is of all lines: {one}"
    );

    // A diff that shows one plugin is a baseline for all of them.
    let cache = lab.get("/admin/memory/diff?plugin=cache").await;
    assert_eq!(payloads_gained(&cache), 50.0);
    let all = lab.get("/admin/memory/diff").await;
    assert_eq!(number(&all, "/total_growth_bytes"), 0.0, "{all}");
}

/// No baseline is needed, and what counts is what was held at that moment: neither the minute nor the
/// last time that something happened.
#[tokio::test]
async fn since_is_about_that_moment() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    lab.traffic(100).await;
    let all = lab.get("/admin/memory/diff?since=15m").await;
    assert_eq!(payloads_gained(&all), 100.0, "of all that is kept: {all}");
    assert_eq!(all["plugins"]["cache"]["retained_objects_diff"], json!(100));

    tokio::time::sleep(Duration::from_secs(9)).await;
    lab.traffic(50).await;
    let recent = lab.get("/admin/memory/diff?since=5s").await;
    assert_eq!(payloads_gained(&recent), 50.0, "of the last 5 s: {recent}");
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
    assert_eq!(unnamed["status"], json!("baseline_set"), "it was never set");
}

#[tokio::test]
async fn a_plugin_whose_symbols_are_lost_hides_no_other_one() {
    let lab = Lab::with(&["cache", "history"])
        .arg("--no-cache")
        .start()
        .await;
    // The host goes on with what it has compiled, but has not read its symbols yet.
    std::fs::write(lab.plugins_folder().join("cache.wasm"), b"broken").unwrap();
    lab.enable("cache").await;
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
    lab.get("/admin/memory").await;
    lab.enable("history").await;
    lab.data().await;
    lab.get("/admin/memory/diff?since=1m").await;
    lab.get("/admin/memory/diff?since=1m&group_by=trace").await;
    let snapshot = lab.get("/admin/memory/snapshot").await;
    assert!(
        snapshot["by_line"][0]["plugin"] == json!("history"),
        "{snapshot}"
    );
    lab.get("/admin/memory").await;
    let asked_for = "/admin/memory/snapshot?plugin=cache";
    let answer = Answer::of(lab.request(Method::GET, asked_for)).await;
    assert!(answer.status.is_client_error(), "{}", answer.text);
}
