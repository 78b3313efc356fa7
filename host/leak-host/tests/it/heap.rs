//! The heap profile: which source line holds the memory, in every view that the host offers, and
//! the cost of the views.

use std::fs;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lab::{Answer, Lab, number};

mod cache;
mod cost;
mod exercise;
mod failed_plugin;
mod history;
mod metrics;
mod otlp;
mod profiles;
mod queries;
mod switch;

/// A snapshot with every line of every plugin.
const ALL_LINES: &str = "/admin/memory/snapshot?limit=1000&all=true";

/// `plugins/cache/src/lib.rs:67`: the line on which the cache allocates its payload.
fn cache_payload_line() -> String {
    line_of("cache", "call.payload(")
}

/// The location of the only line in a plugin's source that contains `code`.
fn line_of(plugin: &str, code: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins")
        .join(plugin)
        .join("src/lib.rs");
    let source = fs::read_to_string(source).unwrap();
    let mut found = source
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(code));
    let (index, _) = found.next().expect("the source contains the code");
    assert_eq!(found.next(), None, "only one line contains {code}");
    format!("plugins/{plugin}/src/lib.rs:{}", index + 1)
}

/// The rows of a list in an answer.
fn rows<'a>(answer: &'a Value, list: &str) -> &'a Vec<Value> {
    answer[list]
        .as_array()
        .unwrap_or_else(|| panic!("no list {list} in {answer}"))
}

/// The sum of one field over the rows.
fn sum(rows: &[Value], field: &str) -> f64 {
    rows.iter()
        .map(|row| number(row, &format!("/{field}")))
        .sum()
}

/// The row of one source line.
fn at<'a>(rows: &'a [Value], location: &str) -> Option<&'a Value> {
    rows.iter().find(|row| row["location"] == json!(location))
}

/// The difference in objects on the line where the cache allocates its payload.
fn payloads_gained(diff: &Value) -> f64 {
    assert_eq!(diff["status"], json!("diff_computed"), "{diff}");
    let line = cache_payload_line();
    let row = at(rows(diff, "growing_allocations"), &line)
        .or_else(|| at(rows(diff, "shrinking_allocations"), &line));
    row.map_or(0.0, |row| number(row, "/count_diff"))
}

/// Sets a named baseline.
async fn put_baseline(lab: &Lab, name: &str) -> Value {
    let path = format!("/admin/memory/baselines/{name}");
    let answer = Answer::of(lab.request(Method::PUT, &path)).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer.json()
}
