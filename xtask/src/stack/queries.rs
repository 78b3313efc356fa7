//! Every PromQL expression of the dashboard and the rules, asked of a real Prometheus.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::dashboard::Question;
use crate::http;

/// The scrape interval, which is also the step of the questions.
const STEP_SECONDS: u64 = 5;

/// Grafana's shortest window for a rate: four scrapes.
const RATE_INTERVAL: &str = "20s";

/// A Prometheus, and the time that the questions are about.
#[derive(Debug)]
pub(crate) struct Prometheus {
    base: String,
    since: u64,
}

/// What came of asking one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It returned data.
    Data,
    /// Its condition did not occur in this time, and each series it reads is there.
    NoOccurrence,
}

impl Prometheus {
    /// Questions are about the time from now on.
    pub(crate) fn new(base: String) -> Self {
        Self { base, since: now() }
    }

    /// The rules that Prometheus has loaded, as questions.
    ///
    /// # Errors
    /// When Prometheus does not answer or could not evaluate a rule.
    pub(crate) fn rules(&self) -> Result<Vec<Question>> {
        let answer = http::json(&format!("{}/api/v1/rules", self.base))?;
        let groups = answer.pointer("/data/groups").and_then(Value::as_array);
        let mut questions = Vec::new();
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
                questions.push(Question {
                    asker: format!("{kind} {name}"),
                    expression: field("query").to_owned(),
                });
            }
        }
        if questions.is_empty() {
            bail!("Prometheus has loaded no rules");
        }
        Ok(questions)
    }

    /// Asks one question over the whole time. Series that a rule in `recorded` makes are not looked for:
    /// that rule is a question of its own.
    ///
    /// # Errors
    /// When Prometheus refuses it, or when it returns nothing because a series it reads does not exist.
    pub(crate) fn ask(&self, question: &Question, recorded: &BTreeSet<String>) -> Result<Answer> {
        let expression = interpolated(&question.expression, now() - self.since)?;
        if self.returns_data(&expression)? {
            return Ok(Answer::Data);
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
        Ok(Answer::NoOccurrence)
    }

    /// Whether the expression has a value at any moment of this time.
    ///
    /// # Errors
    /// When Prometheus refuses it.
    pub(crate) fn returns_data(&self, expression: &str) -> Result<bool> {
        Ok(!self.values(expression)?.is_empty())
    }

    /// All values of the expression in this time, of all its series.
    ///
    /// # Errors
    /// When Prometheus refuses it.
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
            .filter_map(number)
            .collect())
    }

    /// Whether a series that matches was scraped in this time.
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

    /// Waits until Prometheus has scraped each job once more, and the rules have seen it.
    pub(crate) fn let_scrape(&self) {
        std::thread::sleep(Duration::from_secs(2 * STEP_SECONDS + 1));
    }
}

/// The value of a pair of time and value. A quotient of nothing by nothing is no data: a panel shows a gap for it.
fn number(pair: &Value) -> Option<f64> {
    let value: f64 = pair.get(1)?.as_str()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Puts in what Grafana would for its variables.
fn interpolated(expression: &str, range_seconds: u64) -> Result<String> {
    let expression = expression
        .replace("$__rate_interval", RATE_INTERVAL)
        .replace("$__range", &format!("{}s", range_seconds.max(STEP_SECONDS)))
        .replace("$__interval", &format!("{STEP_SECONDS}s"))
        .replace("$plugin", ".+");
    if expression.contains('$') {
        bail!("a variable is left over in {expression}");
    }
    Ok(expression)
}

/// What an expression reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Selector {
    /// The metric, where it is named.
    name: String,
    /// As PromQL, without offset and range.
    text: String,
}

/// Every selector in Prometheus's own syntax tree.
fn collect_selectors(tree: &Value, found: &mut BTreeSet<Selector>) {
    match tree {
        Value::Object(node) => {
            if let Some(matchers) = node.get("matchers").and_then(Value::as_array) {
                let parts: Vec<String> = matchers.iter().filter_map(matcher).collect();
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

fn matcher(matcher: &Value) -> Option<String> {
    let field = |name: &str| matcher.get(name).and_then(Value::as_str);
    // JSON's escapes are among those that PromQL knows.
    let value = serde_json::to_string(field("value")?).ok()?;
    Some(format!("{}{}{value}", field("name")?, field("type")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn grafanas_variables_are_put_in_and_an_unknown_one_is_refused() {
        assert_eq!(
            interpolated(r#"rate(a{plugin=~"$plugin"}[$__rate_interval])"#, 100).unwrap(),
            r#"rate(a{plugin=~".+"}[20s])"#
        );
        assert_eq!(interpolated("a[$__range]", 100).unwrap(), "a[100s]");
        assert!(interpolated("a[$other]", 100).is_err());
    }

    #[test]
    fn not_a_number_is_no_data() {
        assert_eq!(number(&json!([1.0, "2.5"])), Some(2.5));
        assert_eq!(number(&json!([1.0, "+Inf"])), Some(f64::INFINITY));
        assert_eq!(number(&json!([1.0, "NaN"])), None);
    }

    #[test]
    fn selectors_are_found_wherever_they_stand() {
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
