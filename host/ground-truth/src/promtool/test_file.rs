//! promtool's test file: the rules, the series of a recording, and the queries for its alerts.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::STEPS_PER_QUERY;
use crate::recording::Recording;

/// The label with the states of a window.
pub(super) const BITS: &str = "score_bits";

/// The label with the number of a window.
pub(super) const WINDOW: &str = "score_window";

/// The file for one recording, with a query for each window. Series of metrics that no rule uses
/// are left out.
pub(super) fn text(
    rules: &[PathBuf],
    recording: &Recording,
    is_used: impl Fn(&str) -> bool,
    interval: u64,
    windows: u64,
) -> String {
    let mut text = String::from("rule_files:\n");
    // Writing to a string cannot fail.
    for file in rules {
        let _ = writeln!(text, "  - {}", quote(&file.display().to_string()));
    }
    let _ = writeln!(text, "evaluation_interval: {interval}s\ntests:");
    let scrape = recording.scrape_seconds;
    let _ = writeln!(text, "  - interval: {scrape}s\n    input_series:");
    for (name, values) in recording.series(is_used) {
        let _ = writeln!(
            text,
            "      - series: {}\n        values: '{values}'",
            quote(&name)
        );
    }
    text.push_str("    promql_expr_test:\n");
    for window in 0..windows {
        let (time, query) = query(window, interval);
        let _ = writeln!(
            text,
            "      - eval_time: {time}s\n        expr: {}\n        exp_samples: []",
            quote(&query)
        );
    }
    text
}

/// The time of a query in seconds, and the query for the states of all alerts in a window.
///
/// The range is a second shorter than the window, so that it does not include the evaluation
/// before, whether a range includes its start (Prometheus 2) or not (3).
fn query(window: u64, interval: u64) -> (u64, String) {
    let first = window * STEPS_PER_QUERY * interval;
    let last = first + (STEPS_PER_QUERY - 1) * interval;
    let range = STEPS_PER_QUERY * interval - 1;
    let firing = r#"ALERTS{alertstate="firing"}"#;
    let bits = format!(
        "sum_over_time(({firing} * 2 ^ ((time() - {first}) / {interval}))[{range}s:{interval}s])"
    );
    let numbered =
        |vector: &str| format!(r#"label_replace({vector}, "{WINDOW}", "{window}", "", "")"#);
    let states = numbered(&format!(r#"count_values without () ("{BITS}", {bits})"#));
    let evaluated = numbered("vector(1)");
    (last, format!("{states} or {evaluated}"))
}

/// A text of YAML, in single quotes.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_each_other_without_overlap() {
        let (first, query_0) = query(0, 30);
        let (second, query_1) = query(1, 30);
        assert_eq!((first, second), (49 * 30, 99 * 30));
        assert!(query_0.contains("time() - 0) / 30") && query_0.contains("[1499s:30s]"));
        assert!(query_1.contains("time() - 1500) / 30"), "{query_1}");
    }

    #[test]
    fn a_quote_in_a_path_is_doubled() {
        assert_eq!(quote("it's"), "'it''s'");
    }
}
