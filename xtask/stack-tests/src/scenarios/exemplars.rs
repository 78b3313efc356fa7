//! From a point in the chart of durations to its trace.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use xtask_support::http;
use xtask_support::wait::{INTERVAL, wait_for};

use crate::prometheus::now;

/// A scrape, and the time until Jaeger has the trace.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How far back Prometheus is asked, in seconds.
const RANGE_SECONDS: u64 = 300;

/// Finds the trace of an exemplar of the service in Jaeger.
///
/// # Errors
/// When Prometheus has no exemplar, or Jaeger does not know its trace.
pub(super) fn check(prometheus: &str, jaeger: &str) -> Result<String> {
    let (start, end) = (now().saturating_sub(RANGE_SECONDS), now());
    let url = format!("{prometheus}/api/v1/query_exemplars");
    let (id, count) = wait_for("Prometheus has no exemplar", TIMEOUT, INTERVAL, || {
        let answer = http::query(
            &url,
            &[
                ("query", "http_request_duration_seconds_bucket"),
                ("start", &start.to_string()),
                ("end", &end.to_string()),
            ],
        )?;
        let ids = trace_ids(&answer);
        let last = ids.last().context("the list is empty")?;
        Ok((last.clone(), ids.len()))
    })?;
    wait_for(
        "Jaeger does not know the trace of an exemplar",
        TIMEOUT,
        INTERVAL,
        || http::json(&format!("{jaeger}/api/traces/{id}")),
    )?;
    Ok(format!("{count} exemplars, and Jaeger has the trace {id}"))
}

fn trace_ids(answer: &Value) -> Vec<String> {
    let series = answer.get("data").and_then(Value::as_array);
    series
        .into_iter()
        .flatten()
        .filter_map(|series| series.get("exemplars").and_then(Value::as_array))
        .flatten()
        .filter_map(|exemplar| exemplar.pointer("/labels/trace_id")?.as_str())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_ids_of_all_series_are_read() {
        let exemplar = |id| json!({"labels": {"trace_id": id}, "value": "1"});
        let answer = json!({"data": [
            {"exemplars": [exemplar("a"), exemplar("b")]},
            {"exemplars": [{"labels": {}}, exemplar("c")]},
        ]});
        assert_eq!(trace_ids(&answer), ["a", "b", "c"]);
        assert!(trace_ids(&json!({})).is_empty());
    }
}
