//! Which source line holds the memory: what a learner, a colleague and a tool can ask, and what it
//! must cost.

use std::fs;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lab::{Answer, Lab, number};

mod cache;
mod cost;
mod dead;
mod exercise;
mod history;
mod metrics;
mod profiles;
mod queries;
mod switch;

/// Rows enough for every line of every plugin.
const ALL_LINES: &str = "/admin/memory/snapshot?limit=1000";

/// `plugins/cache/src/lib.rs:68`: where the cache asks for what it keeps, found in its source.
fn cache_payload_line() -> String {
    line_of("cache", "call.payload(")
}

/// The place of the only line of a plugin's source that says this.
fn line_of(plugin: &str, says: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins")
        .join(plugin)
        .join("src/lib.rs");
    let source = fs::read_to_string(source).unwrap();
    let mut found = source
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(says));
    let (index, _) = found.next().expect("the source has it");
    assert_eq!(found.next(), None, "once");
    let folder = plugin;
    format!("plugins/{folder}/src/lib.rs:{}", index + 1)
}

/// The rows of a list in an answer.
fn rows<'a>(answer: &'a Value, list: &str) -> &'a Vec<Value> {
    answer[list]
        .as_array()
        .unwrap_or_else(|| panic!("{list} is a list in {answer}"))
}

/// The sum of one number over the rows.
fn sum(rows: &[Value], field: &str) -> f64 {
    rows.iter()
        .map(|row| number(row, &format!("/{field}")))
        .sum()
}

/// The row of one source line, if it is listed.
fn at<'a>(rows: &'a [Value], location: &str) -> Option<&'a Value> {
    rows.iter().find(|row| row["location"] == json!(location))
}

/// How many objects more there are at the line where the cache asks for what it keeps.
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
