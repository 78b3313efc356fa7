//! Named baselines and the unnamed one: independence, names, limits, and restarts of plugins.

use axum::http::Method;
use serde_json::json;

use crate::heap::{payloads_gained, put_baseline, refused, rows};
use test_support::{TestHost, number};

#[tokio::test]
async fn two_named_baselines_and_the_unnamed_one_are_independent() {
    let host = TestHost::with(&["cache"]).start().await;
    host.enable("cache").await;
    host.traffic(10).await;
    let anna = put_baseline(&host, "anna").await;
    assert_eq!(anna["name"], json!("anna"));
    host.traffic(50).await;
    put_baseline(&host, "ben_2").await;
    assert_eq!(
        host.get("/admin/memory/diff").await["status"],
        json!("baseline_set"),
        "a named baseline is not the unnamed one"
    );
    host.traffic(30).await;

    // A named baseline stays the same however often it is compared with.
    for _ in 0..3 {
        let anna = host.get("/admin/memory/diff?baseline=anna").await;
        assert_eq!(payloads_gained(&anna), 80.0, "{anna}");
        assert_eq!(anna["requests_since_baseline"], json!(80));
        let ben = host.get("/admin/memory/diff?baseline=ben_2").await;
        assert_eq!(payloads_gained(&ben), 30.0, "{ben}");
    }
    let unnamed = host.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&unnamed), 30.0, "no diff has replaced it");
    host.traffic(5).await;
    let unnamed = host.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&unnamed), 5.0, "each diff replaces it");
    let anna = host.get("/admin/memory/diff?baseline=anna").await;
    assert_eq!(payloads_gained(&anna), 85.0, "{anna}");

    // Set again, it starts from now.
    put_baseline(&host, "anna").await;
    let anna = host.get("/admin/memory/diff?baseline=anna").await;
    assert_eq!(payloads_gained(&anna), 0.0, "{anna}");
}

#[tokio::test]
async fn baselines_are_listed_deleted_and_reset() {
    let host = TestHost::with(&["cache"]).start().await;
    let list = host.get("/admin/memory/baselines").await;
    assert_eq!(list["baselines"], json!([]));
    host.enable("cache").await;
    host.traffic(7).await;
    for name in ["b", "a"] {
        put_baseline(&host, name).await;
    }
    let list = host.get("/admin/memory/baselines").await;
    let names: Vec<_> = rows(&list, "baselines")
        .iter()
        .map(|b| &b["name"])
        .collect();
    assert_eq!(names, [&json!("a"), &json!("b")]);
    for baseline in rows(&list, "baselines") {
        assert_eq!(baseline["requests"], json!(7), "{baseline}");
        assert!(baseline["taken_at"].as_str().unwrap().ends_with('Z'));
        assert!(number(baseline, "/heap_live_mb") > 0.0, "{baseline}");
    }
    let deleted = host
        .request(Method::DELETE, "/admin/memory/baselines/a")
        .send()
        .await;
    assert_eq!(deleted.ok("delete"), json!({"deleted": "a"}));
    let missing = [
        (Method::DELETE, "/admin/memory/baselines/a"),
        (Method::GET, "/admin/memory/diff?baseline=a"),
        (Method::GET, "/admin/memory/flamegraph?baseline=a"),
    ];
    for (method, path) in missing {
        refused(&host, method, path, 404, "unknown_baseline").await;
    }
    host.get("/admin/memory/diff?baseline=b").await;

    host.post("/admin/reset", json!({})).await;
    let list = host.get("/admin/memory/baselines").await;
    assert_eq!(
        list["baselines"],
        json!([]),
        "a reset deletes all baselines"
    );
    let first = host.get("/admin/memory/diff").await;
    assert_eq!(first["status"], json!("baseline_set"), "{first}");
}

#[tokio::test]
async fn a_name_is_a_word_and_32_baselines_are_kept() {
    let host = TestHost::with(&["cache"]).start().await;
    let long = "a".repeat(41);
    for bad in ["two%20words", "a.b", "a%2Fb", "%C3%A4", &long] {
        let path = format!("/admin/memory/baselines/{bad}");
        refused(&host, Method::PUT, &path, 422, "invalid_value").await;
    }
    put_baseline(&host, &"a".repeat(40)).await;
    for n in 1..32 {
        put_baseline(&host, &format!("n-{n}")).await;
    }
    let more = "/admin/memory/baselines/one-more";
    refused(&host, Method::PUT, more, 429, "too_many_baselines").await;
    let list = host.get("/admin/memory/baselines").await;
    assert_eq!(
        rows(&list, "baselines").len(),
        32,
        "a refused baseline changes nothing"
    );
    put_baseline(&host, "n-1").await;
    host.request(Method::DELETE, "/admin/memory/baselines/n-1")
        .send()
        .await;
    put_baseline(&host, "one-more").await;
}

#[tokio::test]
async fn a_baseline_stays_valid_when_its_plugin_restarts() {
    let host = TestHost::with(&["cache"]).start().await;
    host.enable("cache").await;
    host.traffic(100).await;
    put_baseline(&host, "before").await;
    host.get("/admin/memory/diff").await;

    host.post("/admin/leaks/cache/reset", json!({})).await;
    assert_eq!(host.leak("cache").await["enabled"], json!(true));
    host.traffic(40).await;
    for path in ["/admin/memory/diff?baseline=before", "/admin/memory/diff"] {
        let diff = host.get(path).await;
        assert_eq!(payloads_gained(&diff), 40.0 - 100.0, "{path}: {diff}");
        assert_eq!(diff["plugins"]["cache"]["restarted"], json!(true));
        assert_eq!(
            number(&diff, "/total_growth_bytes"),
            number(&diff, "/plugins/cache/heap_live_diff_bytes"),
            "{diff}"
        );
    }

    // The same with a plugin that gc replaces because it is empty.
    host.post("/admin/leaks/clear", json!({})).await;
    let collected = host.post("/admin/gc", json!({})).await;
    assert_eq!(collected["gc_results"][0]["recycled"], json!(true));
    host.traffic(120).await;
    let diff = host.get("/admin/memory/diff?baseline=before").await;
    assert_eq!(payloads_gained(&diff), 20.0, "{diff}");
    let diff = host.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&diff), 80.0, "{diff}");
}

#[tokio::test]
async fn plugins_that_are_not_in_use_are_listed_on_request_only() {
    let host = TestHost::with(&["cache", "sawtooth", "warm-up"])
        .start()
        .await;
    host.get("/admin/memory/diff").await;
    host.enable("sawtooth").await;
    host.traffic(3).await;
    for (path, expected) in [
        ("/admin/memory/snapshot", vec!["cache", "sawtooth"]),
        ("/admin/memory/diff", vec!["cache", "sawtooth"]),
        ("/admin/memory/diff?since=1m", vec!["cache", "sawtooth"]),
        (
            "/admin/memory/diff?all=true",
            vec!["cache", "sawtooth", "warm-up"],
        ),
        ("/admin/memory/snapshot?plugin=warm-up", vec!["warm-up"]),
    ] {
        let answer = host.get(path).await;
        let listed: Vec<_> = answer["plugins"].as_object().unwrap().keys().collect();
        assert_eq!(listed, expected, "{path}");
    }
}
