//! The API's description: `/openapi.json` and `/docs`.

use std::collections::BTreeSet;

use axum::http::Method;
use test_support::TestHost;

#[tokio::test]
async fn every_route_is_described() {
    let host = TestHost::with(&[]).start().await;
    let description = host.get("/openapi.json").await;
    assert!(
        description["openapi"].as_str().unwrap().starts_with("3."),
        "{description}"
    );
    let calls = [
        ("/health", "get"),
        ("/api/data", "get"),
        ("/metrics", "get"),
        ("/admin/leaks/status", "get"),
        ("/admin/catalogue", "get"),
        ("/admin/leaks/{name}", "post"),
        ("/admin/leaks/clear", "post"),
        ("/admin/leaks/{name}/reset", "post"),
        ("/admin/reset", "post"),
        ("/admin/gc", "post"),
        ("/admin/memory", "get"),
        ("/admin/memory/source", "get"),
        ("/admin/plugins", "get"),
        ("/admin/plugins/{name}", "get"),
    ];
    for (path, method) in calls {
        let call = &description["paths"][path][method];
        assert!(
            call["responses"]["200"].is_object(),
            "{method} {path} is not described: {call}"
        );
    }
    let docs = host.request(Method::GET, "/docs").send().await;
    assert_eq!(docs.status, 200);
    assert!(docs.content_type().starts_with("text/html"), "{docs:?}");
    assert!(
        !docs.text.contains("https://"),
        "the page loads from another host"
    );
}

/// A path without a description, or a description without a path, is a mistake in the route table.
#[tokio::test]
async fn the_described_paths_are_the_route_table_of_the_crate() {
    let host = TestHost::with(&[]).start().await;
    let description = host.get("/openapi.json").await;
    let table = include_str!("../../src/lib.rs");
    let table: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("//! |"))
        .collect();
    let mut table: BTreeSet<String> = table.into_iter().flat_map(paths_of_row).collect();
    // The description does not describe itself.
    for own in ["/openapi.json", "/docs"] {
        assert!(table.remove(own), "{own} is not in the table of src/lib.rs");
    }
    let described = description["paths"].as_object().unwrap().keys();
    let described: BTreeSet<String> = described.cloned().collect();
    assert_eq!(table, described, "table of src/lib.rs, and /openapi.json");
}

/// The paths in the first cell of a row: `GET /a`, `PUT`, `DELETE …/{name}` are `/a` and
/// `/a/{name}`.
fn paths_of_row(row: &str) -> Vec<String> {
    let cell = row.split('|').nth(1).unwrap_or_default();
    let mut base = "";
    let mut paths = Vec::new();
    for call in cell.split('`').skip(1).step_by(2) {
        let path = call.rsplit(' ').next().unwrap_or_default();
        if let Some(rest) = path.strip_prefix('…') {
            paths.push(format!("{base}{rest}"));
        } else if path.starts_with('/') {
            base = path;
            paths.push(path.to_owned());
        }
    }
    paths
}
