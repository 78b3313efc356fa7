//! `POST /admin/plugins/check`.

use std::fs;

use axum::http::Method;
use serde_json::{Value, json};
use test_support::components::component;
use test_support::{TestHost, number};

/// The number of checks in every report.
const CHECKS: usize = 10;

fn rows(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["checks"].as_array().unwrap().iter();
    rows.map(|row| {
        assert!(!row["promise"].as_str().unwrap().is_empty());
        (
            row["check"].as_str().unwrap(),
            row["status"].as_str().unwrap(),
        )
    })
    .collect()
}

#[tokio::test]
async fn a_check_reports_on_a_component_and_leaves_the_loaded_plugins_alone() {
    let host = TestHost::with(&["cache"]).start().await;
    host.enable("cache").await;
    host.traffic(3).await;
    let before = host.get("/admin/plugins").await;
    for (name, passed) in [("cache", true), ("fixture-keeps", false)] {
        let path = "/admin/plugins/check?requests=60";
        let body = fs::read(component(name)).unwrap();
        let report = host.request(Method::POST, path).body(body).send().await;
        let report = report.ok(name);
        assert_eq!(report["passed"], json!(passed), "{report:#}");
        assert_eq!(report["id"], json!(name), "{report:#}");
        assert_eq!(number(&report, "/requests"), 60.0);
        assert_eq!(rows(&report).len(), CHECKS);
    }
    assert_eq!(
        host.get("/admin/plugins").await,
        before,
        "nothing is loaded"
    );
    assert_eq!(number(&host.leak("cache").await, "/count"), 3.0);

    for (query, body, code) in [
        ("?requests=1", vec![1], "invalid_value"),
        ("?requests=many", vec![1], "invalid_value"),
        ("?request=60", vec![1], "invalid_query"),
        ("", Vec::new(), "missing_component"),
    ] {
        let path = format!("/admin/plugins/check{query}");
        let answer = host.request(Method::POST, &path).body(body).send().await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert_eq!(answer.error_code(query), code);
    }
    // Bytes that are not a component are a finding, not an error.
    let request = host.request(Method::POST, "/admin/plugins/check");
    let report = request.body("nonsense").send().await.ok("nonsense");
    assert_eq!(rows(&report)[0], ("contract", "fail"));
}
