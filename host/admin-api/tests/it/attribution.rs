//! The attribution of a heap changes while the plugin runs, and every answer says so.

use std::fs;

use axum::http::Method;
use serde_json::{Value, json};
use test_support::components::component;
use test_support::{TestHost, number};

/// Has more call stacks than the profiler has room for.
const BRANCHES: &str = "fixture-branches";

/// Asserts that a part of an answer has the evidence of an attribution.
#[track_caller]
fn check(answer: &Value, attribution: &str, reason: Option<&str>) {
    assert_eq!(answer["attribution"], json!(attribution), "{answer:#}");
    let why = answer["attribution_why"].as_str();
    assert_eq!(why.is_some(), reason.is_some(), "{answer:#}");
    assert!(
        why.unwrap_or_default().contains(reason.unwrap_or_default()),
        "{why:?}"
    );
    let overflowed = number(answer, "/overflowed");
    assert_eq!(overflowed > 0.0, attribution == "partial", "{answer:#}");
    for field in ["heap_unseen_bytes", "unknown_frees", "lost_bytes"] {
        assert_eq!(answer[field], json!(0), "{answer:#}");
    }
    for field in ["heap_seen_bytes", "static_bytes", "initial_heap_bytes"] {
        assert!(answer[field].is_u64(), "{answer:#}");
    }
    let names = answer["entry_points"][0]["names"].as_array().unwrap();
    assert!(names.contains(&json!("malloc")), "{answer:#}");
    assert!(names.contains(&json!("free")), "{answer:#}");
}

#[tokio::test]
async fn an_overflow_ends_an_exact_attribution_everywhere() {
    let host = TestHost::with(&[BRANCHES]).start().await;
    let reason = "allocations with folded call stacks";
    check(&host.leak(BRANCHES).await, "exact", None);
    host.enable(BRANCHES).await;
    host.get("/admin/memory/diff").await;
    host.traffic(2).await;

    check(&host.leak(BRANCHES).await, "partial", Some(reason));
    for path in ["/admin/memory/snapshot", "/admin/memory/diff"] {
        let answer = host.get(path).await;
        let plugin = &answer["plugins"][BRANCHES];
        check(plugin, "partial", Some(reason));
        // Folded call stacks lose no block.
        let at_least = number(plugin, "/heap_live_at_least_bytes");
        assert!(at_least > 0.0, "{answer:#}");
        assert_eq!(number(plugin, "/heap_live_at_most_bytes"), at_least);
    }
    let heap = host.get("/admin/memory?all=true").await["heap"].clone();
    check(&heap, "partial", Some(reason));
    assert_eq!(heap["why"], heap["attribution_why"]);
    assert_eq!(
        heap["entry_points"][0]["plugin"],
        json!(BRANCHES),
        "{heap:#}"
    );

    // A fresh instance has room again.
    let path = format!("/admin/leaks/{BRANCHES}/reset");
    host.request(Method::POST, &path).send().await.ok(&path);
    check(&host.leak(BRANCHES).await, "exact", None);
}

#[tokio::test]
async fn growth_by_line_adds_up_to_the_growth_of_the_memory() {
    let host = TestHost::with(&["cache"]).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 200_000});
    host.post("/admin/leaks/cache", settings).await;
    host.traffic(5).await;
    let answer = host.get("/admin/memory/snapshot?all=true&limit=1000").await;
    let rows = answer["growth"].as_array().unwrap();
    let sum = |field: &str| -> f64 { rows.iter().map(|row| number(row, field)).sum() };
    let leak = host.leak("cache").await;
    let seen = number(&leak, "/heap_seen_bytes");
    assert!(seen >= 900_000.0, "{leak:#}");
    assert_eq!((sum("/size_bytes"), sum("/unseen_bytes")), (seen, 0.0));
    assert_eq!(rows[0]["location"], answer["by_line"][0]["location"]);
}

#[tokio::test]
async fn a_check_of_a_heap_that_is_not_exact_fails_no_rule() {
    let host = TestHost::with(&[]).start().await;
    let path = "/admin/plugins/check?requests=60";
    let body = fs::read(component(BRANCHES)).unwrap();
    let report = host.request(Method::POST, path).body(body).send().await;
    let report = report.ok(BRANCHES);
    assert_eq!(report["passed"], json!(true), "{report:#}");
    let contract = report["checks"][0]["found"].as_str().unwrap();
    assert!(
        contract.contains("heap attribution partial: "),
        "{report:#}"
    );
}
