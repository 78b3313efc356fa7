//! The heap inspector over the plugins.

use axum::http::Method;
use serde_json::json;
use test_support::{TestHost, number};

use crate::heap::{cache_payload_line, rows};

async fn page(host: &TestHost, path: &str) -> String {
    let answer = host.request(Method::GET, path).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.text
}

#[tokio::test]
async fn the_inspector_shows_what_the_lab_has_read() {
    let host = TestHost::with(&["cache", "listeners"]).start().await;
    host.enable("cache").await;
    host.traffic(5).await;
    host.get("/debug/heap/diff?guest=cache").await;
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    host.traffic(30).await;

    let line = cache_payload_line();
    let diff = host.get("/debug/heap/diff?guest=cache&since=15m").await;
    let row = rows(&diff, "growing")
        .iter()
        .find(|row| row["location"] == json!(line));
    let row = row.unwrap_or_else(|| panic!("{line} in {diff}"));
    assert!(number(row, "/blocks") >= 30.0, "{row}");
    let snapshot = host.get("/debug/heap/snapshot?guest=cache").await;
    let lab = host.get("/admin/memory/snapshot?plugin=cache").await;
    assert_eq!(snapshot["live_bytes"], lab["total_traced_bytes"]);
    assert_eq!(snapshot["guests"][0]["attribution"], json!("exact"));

    let html = page(&host, "/debug/heap/?since=15m").await;
    assert!(html.contains(&line) && html.contains("<polyline"), "{html}");
    // The page links to the profiles of the lab by the name that the inspector uses.
    let text = page(&host, "/debug/pprof/heap?debug=1&guest=cache").await;
    assert!(text.contains("# guest: cache") && !text.contains("# guest: listeners"));
}

#[tokio::test]
async fn an_unloaded_plugin_is_no_guest_any_more() {
    let host = TestHost::with(&["cache", "listeners"]).start().await;
    host.enable("cache").await;
    host.traffic(3).await;
    page(&host, "/debug/heap/?guest=cache").await;
    let unload = host
        .request(Method::DELETE, "/admin/plugins/cache")
        .send()
        .await;
    assert_eq!(unload.status, 200, "{}", unload.text);
    let gone = host
        .request(Method::GET, "/debug/heap/snapshot?guest=cache")
        .send()
        .await;
    assert_eq!(gone.status, 404);
    assert_eq!(gone.error_code("snapshot"), "unknown_guest");
}

#[tokio::test]
async fn the_inspector_requires_the_admin_token() {
    let host = TestHost::with(&["cache"])
        .admin_token("secret")
        .start()
        .await;
    for path in [
        "/debug/heap/",
        "/debug/heap/snapshot",
        "/debug/heap/metrics",
    ] {
        let refused = host.request(Method::GET, path).send().await;
        assert_eq!(refused.status, 401, "{path}");
        let allowed = host
            .request(Method::GET, path)
            .header("authorization", "Bearer secret");
        assert_eq!(allowed.send().await.status, 200, "{path}");
    }
}
