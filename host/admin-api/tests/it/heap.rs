//! What the tests of heaps share.

use std::fs;
use std::path::Path;

use axum::http::Method;
use serde_json::{Value, json};
use test_support::{TestHost, number};

/// `plugins/cache/src/lib.rs:67`: the line where the cache allocates what it keeps.
pub(crate) fn cache_payload_line() -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/cache/src/lib.rs");
    let source = fs::read_to_string(source).unwrap();
    let mut lines = source.lines();
    let index = lines.position(|line| line.contains("call.payload("));
    let index = index.expect("the source calls `payload`");
    assert!(
        !lines.any(|line| line.contains("call.payload(")),
        "the source calls `payload` once"
    );
    format!("plugins/cache/src/lib.rs:{}", index + 1)
}

/// The rows of a list in an answer.
pub(crate) fn rows<'a>(answer: &'a Value, list: &str) -> &'a Vec<Value> {
    answer[list]
        .as_array()
        .unwrap_or_else(|| panic!("{list} is a list in {answer}"))
}

/// By how many objects a diff says that the cache's payload line grew.
pub(crate) fn payloads_gained(diff: &Value) -> f64 {
    assert_eq!(diff["status"], json!("diff_computed"), "{diff}");
    let line = json!(cache_payload_line());
    let lists = ["growing_allocations", "shrinking_allocations"];
    let mut changes = lists.iter().flat_map(|list| rows(diff, list));
    let change = changes.find(|row| row["location"] == line);
    change.map_or(0.0, |row| number(row, "/count_diff"))
}

/// Asserts that a call is refused with this status and code.
pub(crate) async fn refused(host: &TestHost, method: Method, path: &str, status: u16, code: &str) {
    let answer = host.request(method, path).send().await;
    assert_eq!(answer.status, status, "{path}: {}", answer.text);
    assert_eq!(answer.error_code(path), code, "{path}: {}", answer.text);
}

pub(crate) async fn put_baseline(host: &TestHost, name: &str) -> Value {
    let path = format!("/admin/memory/baselines/{name}");
    host.request(Method::PUT, &path).send().await.ok(&path)
}
