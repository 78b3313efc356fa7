//! Evaluates the PromQL expressions of the dashboard and the rules in a real Prometheus.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use xtask_support::http;

use crate::dashboard::Query;

/// The scrape interval, also the step of range queries.
const STEP_SECONDS: u64 = 5;

/// Grafana's shortest window of a rate: four scrapes.
const RATE_INTERVAL: &str = "20s";

/// A Prometheus, and the beginning of the time range of all queries.
#[derive(Debug)]
pub(crate) struct Prometheus {
    base: String,
    /// Seconds since the Unix epoch.
    since: u64,
}

/// The result of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QueryResult {
    Data,
    /// Its condition did not occur in the time range, and every series that it reads exists.
    NoOccurrence,
}

impl Prometheus {
    /// The time range begins now.
    pub(crate) fn new(base: String) -> Self {
        Self { base, since: now() }
    }

    /// The queries of the rules that Prometheus has loaded.
    ///
    /// # Errors
    /// When Prometheus does not answer or could not evaluate a rule.
    pub(crate) fn rules(&self) -> Result<Vec<Query>> {
        let answer = http::json(&format!("{}/api/v1/rules", self.base))?;
        let groups = answer.pointer("/data/groups").and_then(Value::as_array);
        let mut queries = Vec::new();
        for group in groups.into_iter().flatten() {
            for rule in group
                .get("rules")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let field = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
                let (kind, name) = match field("type") {
                    "alerting" => ("alert", field("name")),
                    _ => ("rule", field("name")),
                };
                if field("health") == "err" {
                    bail!("{kind} {name}: {}", field("lastError"));
                }
                queries.push(Query {
                    origin: format!("{kind} {name}"),
                    expression: field("query").to_owned(),
                });
            }
        }
        if queries.is_empty() {
            bail!("Prometheus has loaded no rules");
        }
        Ok(queries)
    }

    /// Evaluates a query over the whole time range. Series of the recording rules in `recorded` are
    /// not required to exist: the query of that rule is checked itself.
    ///
    /// # Errors
    /// When Prometheus refuses the query, or a series that it reads does not exist.
    pub(crate) fn run(&self, query: &Query, recorded: &BTreeSet<String>) -> Result<QueryResult> {
        let expression = interpolate(&query.expression, now() - self.since)?;
        if !self.values(&expression)?.is_empty() {
            return Ok(QueryResult::Data);
        }
        let parsed = http::query(
            &format!("{}/api/v1/parse_query", self.base),
            &[("query", &expression)],
        )?;
        let mut selectors = BTreeSet::new();
        collect_selectors(
            parsed.get("data").context("no syntax tree")?,
            &mut selectors,
        );
        for selector in selectors {
            if recorded.contains(&selector.name) || self.has_series(&selector.text)? {
                continue;
            }
            bail!("there is no series {}", selector.text);
        }
        Ok(QueryResult::NoOccurrence)
    }

    /// The values of all series of the expression in the time range.
    ///
    /// # Errors
    /// When Prometheus refuses the expression.
    pub(crate) fn values(&self, expression: &str) -> Result<Vec<f64>> {
        let answer = http::query(
            &format!("{}/api/v1/query_range", self.base),
            &[
                ("query", expression),
                ("start", &self.since.to_string()),
                ("end", &now().to_string()),
                ("step", &STEP_SECONDS.to_string()),
            ],
        )?;
        let series = answer
            .pointer("/data/result")
            .and_then(Value::as_array)
            .context("no result")?;
        Ok(series
            .iter()
            .filter_map(|series| series.get("values").and_then(Value::as_array))
            .flatten()
            .filter_map(value_of)
            .collect())
    }

    /// True when a matching series was scraped in the time range.
    ///
    /// # Errors
    /// When Prometheus refuses the selector.
    pub(crate) fn has_series(&self, selector: &str) -> Result<bool> {
        let answer = http::query(
            &format!("{}/api/v1/series", self.base),
            &[
                ("match[]", selector),
                ("start", &self.since.to_string()),
                ("end", &now().to_string()),
                ("limit", "1"),
            ],
        )?;
        let found = answer.get("data").and_then(Value::as_array);
        Ok(found.is_some_and(|series| !series.is_empty()))
    }

    /// Waits until Prometheus has scraped each job again and evaluated the rules.
    pub(crate) fn wait_for_scrape(&self) {
        std::thread::sleep(Duration::from_secs(2 * STEP_SECONDS + 1));
    }
}

/// The value of a pair of time and value. NaN, such as 0 divided by 0, is no data: a panel shows a
/// gap.
fn value_of(pair: &Value) -> Option<f64> {
    let value: f64 = pair.get(1)?.as_str()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Replaces Grafana's variables as Grafana does.
fn interpolate(expression: &str, range_seconds: u64) -> Result<String> {
    let expression = expression
        .replace("$__rate_interval", RATE_INTERVAL)
        .replace("$__range", &format!("{}s", range_seconds.max(STEP_SECONDS)))
        .replace("$__interval", &format!("{STEP_SECONDS}s"))
        .replace(r#"="$job""#, r#"=~".+""#)
        .replace(r#"="$instance""#, r#"=~".+""#)
        .replace("$plugin", ".+");
    // `$1` is a group of `label_replace`.
    let is_variable = |rest: &str| rest.starts_with(|c: char| !c.is_ascii_digit());
    if expression.split('$').skip(1).any(is_variable) {
        bail!("{expression} contains an unknown variable");
    }
    Ok(expression)
}

/// The series that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Selector {
    /// The metric; empty if the selector does not name it.
    name: String,
    /// As PromQL, without offset and range.
    text: String,
}

/// Collects every selector of Prometheus's own syntax tree.
fn collect_selectors(tree: &Value, found: &mut BTreeSet<Selector>) {
    match tree {
        Value::Object(node) => {
            if let Some(matchers) = node.get("matchers").and_then(Value::as_array) {
                let parts: Vec<String> = matchers.iter().filter_map(matcher_text).collect();
                let name = node.get("name").and_then(Value::as_str).unwrap_or_default();
                found.insert(Selector {
                    name: name.to_owned(),
                    text: format!("{{{}}}", parts.join(",")),
                });
            }
            node.values()
                .for_each(|child| collect_selectors(child, found));
        }
        Value::Array(children) => {
            for child in children {
                collect_selectors(child, found);
            }
        }
        _ => {}
    }
}

fn matcher_text(matcher: &Value) -> Option<String> {
    let field = |name: &str| matcher.get(name).and_then(Value::as_str);
    // PromQL knows all escapes of JSON.
    let value = serde_json::to_string(field("value")?).ok()?;
    Some(format!("{}{}{value}", field("name")?, field("type")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_replaced_and_an_unknown_one_is_refused() {
        let group = r#"label_replace(a, "b", "$1", "c", "(.+)")"#;
        assert_eq!(interpolate(group, 100).unwrap(), group);
        assert_eq!(
            interpolate(r#"rate(a{plugin=~"$plugin"}[$__rate_interval])"#, 100).unwrap(),
            r#"rate(a{plugin=~".+"}[20s])"#
        );
        assert_eq!(
            interpolate(r#"a{job="$job", instance="$instance"}"#, 100).unwrap(),
            r#"a{job=~".+", instance=~".+"}"#
        );
        assert_eq!(interpolate("a[$__range]", 100).unwrap(), "a[100s]");
        assert!(interpolate("a[$other]", 100).is_err());
    }

    #[test]
    fn not_a_number_is_no_data() {
        assert_eq!(value_of(&json!([1.0, "2.5"])), Some(2.5));
        assert_eq!(value_of(&json!([1.0, "+Inf"])), Some(f64::INFINITY));
        assert_eq!(value_of(&json!([1.0, "NaN"])), None);
    }

    #[test]
    fn selectors_are_found_at_every_depth() {
        let tree = json!({"type": "binaryExpr", "op": "/",
            "lhs": {"type": "vectorSelector", "name": "a", "offset": 60000, "matchers": [
                {"type": "=", "name": "__name__", "value": "a"},
                {"type": "!=", "name": "plugin", "value": ""}]},
            "rhs": {"type": "call", "args": [{"type": "matrixSelector", "name": "b", "range": 5000, "matchers": [
                {"type": "=", "name": "__name__", "value": "b"}]}]}});
        let mut found = BTreeSet::new();
        collect_selectors(&tree, &mut found);
        assert_eq!(
            found
                .into_iter()
                .map(|s| (s.name, s.text))
                .collect::<Vec<_>>(),
            [
                ("a".to_owned(), r#"{__name__="a",plugin!=""}"#.to_owned()),
                ("b".to_owned(), r#"{__name__="b"}"#.to_owned()),
            ]
        );
    }
}
