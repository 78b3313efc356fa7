//! The queries of the calls that show heaps.

use axum::http::Method;
use serde_json::json;

use crate::heap::{cache_payload_line, payloads_gained, put_baseline, refused, rows};
use test_support::components::LAB;
use test_support::{TestHost, number};

const READERS: [&str; 6] = [
    "/admin/memory/snapshot",
    "/admin/memory/diff",
    "/admin/memory/history",
    "/admin/memory/flamegraph",
    "/debug/pprof/heap",
    "/debug/pprof/allocs",
];

#[tokio::test]
async fn an_invalid_query_is_refused_and_changes_nothing() {
    let host = TestHost::with(&["cache"]).start().await;
    put_baseline(&host, "b").await;
    for reader in READERS {
        let path = format!("{reader}?plugin=nope");
        refused(&host, Method::GET, &path, 404, "unknown_plugin").await;
        let path = format!("{reader}?colour=red");
        refused(&host, Method::GET, &path, 422, "invalid_query").await;
    }
    for reader in &READERS[..3] {
        for limit in ["0", "1001", "-1", "many", "1.5", ""] {
            let path = format!("{reader}?limit={limit}");
            refused(&host, Method::GET, &path, 422, "invalid_value").await;
        }
    }
    for reader in ["/admin/memory/snapshot", "/admin/memory/diff"] {
        let path = format!("{reader}?group_by=colour");
        refused(&host, Method::GET, &path, 422, "invalid_value").await;
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
            refused(&host, Method::GET, &path, 422, "invalid_value").await;
        }
        let path = format!("{reader}?since=5m&baseline=b");
        refused(&host, Method::GET, &path, 422, "invalid_value").await;
    }
    for reader in ["/admin/memory/snapshot", "/admin/memory/history"] {
        let path = format!("{reader}?baseline=b");
        refused(&host, Method::GET, &path, 422, "invalid_query").await;
    }
    for profile in ["/debug/pprof/heap", "/debug/pprof/allocs"] {
        let path = format!("{profile}?baseline=b");
        refused(&host, Method::GET, &path, 422, "invalid_query").await;
        for wrong in [
            "seconds=0",
            "seconds=901",
            "seconds=5&debug=1",
            "debug=x",
            "gc=x",
        ] {
            let path = format!("{profile}?{wrong}");
            refused(&host, Method::GET, &path, 422, "invalid_value").await;
        }
    }
    let first = host.get("/admin/memory/diff").await;
    assert_eq!(
        first["status"],
        json!("baseline_set"),
        "a refused diff sets no baseline"
    );
}

#[tokio::test]
async fn rows_are_grouped_filtered_and_limited() {
    let host = TestHost::with(&LAB).start().await;
    for leak in LAB {
        host.enable(leak).await;
    }
    host.get("/admin/memory/diff").await;
    put_baseline(&host, "b").await;
    host.traffic(50).await;

    let functions = host
        .get("/admin/memory/diff?baseline=b&plugin=cache&group_by=function")
        .await;
    let location = functions["growing_allocations"][0]["location"].as_str();
    assert!(location.unwrap().contains("on_request"), "{functions}");
    let files = host
        .get("/admin/memory/diff?baseline=b&plugin=cache&group_by=file")
        .await;
    assert_eq!(
        files["growing_allocations"][0]["location"],
        json!("plugins/cache/src/lib.rs")
    );
    let names: Vec<_> = files["plugins"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["cache"]);

    let traces = host
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
    assert!(trace.len() > 2, "the SDK calls the plugin: {top}");

    let one = host.get("/admin/memory/snapshot?limit=1").await;
    assert_eq!(rows(&one, "by_line").len(), 1);
    let one = host.get("/admin/memory/diff?baseline=b&limit=1").await;
    assert_eq!(rows(&one, "growing_allocations").len(), 1);
    assert!(
        rows(&one, "growing_allocations")[0]["size_diff_bytes"].as_f64()
            < one["total_growth_bytes"].as_f64(),
        "the total covers all lines: {one}"
    );

    // A diff that shows one plugin replaces the baseline of all plugins.
    let cache = host.get("/admin/memory/diff?plugin=cache").await;
    assert_eq!(payloads_gained(&cache), 50.0);
    let all = host.get("/admin/memory/diff").await;
    assert_eq!(number(&all, "/total_growth_bytes"), 0.0, "{all}");
}

#[tokio::test]
async fn every_call_refuses_parameters_that_it_does_not_take() {
    let host = TestHost::with(&LAB).start().await;
    let description = host.get("/openapi.json").await;
    let mut calls = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        if !path.starts_with("/admin/") {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path
                .replace("{name}", "cache")
                .replace("{number}", "1")
                .replace("{n}", "1");
            let path = format!("{path}?colour=red");
            refused(&host, method, &path, 422, "invalid_query").await;
            calls += 1;
        }
    }
    assert!(calls > 20, "{calls}");
    // Parameters of other calls mean nothing here.
    for (method, path) in [
        (Method::GET, "/admin/memory/snapshot?since=5m"),
        (Method::GET, "/admin/memory/snapshot?libraries=shown"),
        (Method::GET, "/admin/memory/diff?libraries=shown"),
        (Method::GET, "/admin/memory/history?group_by=file"),
        (Method::GET, "/admin/memory/flamegraph?limit=5"),
        (Method::POST, "/admin/leaks/cache?enabled=true"),
        (Method::POST, "/admin/leaks/clear?leak_type=cache"),
        (Method::GET, "/admin/leaks/cache?all=true"),
    ] {
        refused(&host, method, path, 422, "invalid_query").await;
    }
    assert_eq!(host.leak("cache").await["enabled"], json!(false));
    for path in [
        "/admin/leaks/status?all=true&",
        "/admin/memory?",
        "/admin/memory/history?limit=3&plugin=cache",
    ] {
        host.get(path).await;
    }
}
