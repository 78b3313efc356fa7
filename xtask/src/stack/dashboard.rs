//! The dashboard as JSON: what it promises, whether its panels fit, and which questions it asks.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The rows that the lab's text names, in order; the last repeats for each plugin.
const ROWS: [&str; 5] = [
    "Memory Overview",
    "Leak Details",
    "Correlation Analysis",
    "Request Metrics",
    "Plugin: $plugin",
];

/// Width of Grafana's grid.
const COLUMNS: i64 = 24;

/// One PromQL expression and who asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// `panel «Growth»`, `annotation «Reset»`, `alert LeakSuspect`.
    pub(crate) asker: String,
    /// As it is written, with Grafana's variables.
    pub(crate) expression: String,
}

/// A dashboard.
#[derive(Debug)]
pub(crate) struct Dashboard(Value);

impl Dashboard {
    /// Reads the JSON.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self(serde_json::from_str(&text).with_context(|| {
            format!("{} is not JSON", file.display())
        })?))
    }

    fn panels(&self) -> Vec<&Value> {
        let top = self.0.get("panels").and_then(Value::as_array);
        top.into_iter()
            .flatten()
            .flat_map(|panel| {
                let nested = panel.get("panels").and_then(Value::as_array);
                std::iter::once(panel).chain(nested.into_iter().flatten())
            })
            .collect()
    }

    /// Checks uid, title, times, rows, that no panels overlap, and that each has a unit, a
    /// description, a legend and one of the two data sources.
    ///
    /// # Errors
    /// Everything that is not so.
    pub(crate) fn check(&self) -> Result<String> {
        let mut wrong = Vec::new();
        for (pointer, wanted) in [
            ("/uid", "memory-leak-lab"),
            ("/title", "Memory Leak Investigation"),
            ("/refresh", "5s"),
            ("/time/from", "now-15m"),
            ("/time/to", "now"),
        ] {
            if self.0.pointer(pointer).and_then(Value::as_str) != Some(wanted) {
                wrong.push(format!("{pointer} is not {wanted}"));
            }
        }
        let (rows, panels): (Vec<&Value>, Vec<&Value>) = self
            .panels()
            .into_iter()
            .partition(|panel| text(panel, "/type") == "row");
        if rows
            .iter()
            .map(|row| text(row, "/title"))
            .collect::<Vec<_>>()
            != ROWS
        {
            wrong.push(format!("the rows are not {ROWS:?}"));
        }
        if rows.last().map(|row| text(row, "/repeat")) != Some("plugin") {
            wrong.push("the last row does not repeat for each plugin".to_owned());
        }
        let mut ids = BTreeSet::new();
        for panel in rows.iter().chain(&panels) {
            if !ids.insert(panel.get("id").and_then(Value::as_i64)) {
                wrong.push(format!("«{}»: its id is used twice", text(panel, "/title")));
            }
        }
        for panel in &panels {
            let lacks = lacks(panel);
            if !lacks.is_empty() {
                wrong.push(format!(
                    "«{}» lacks {}",
                    text(panel, "/title"),
                    lacks.join(", ")
                ));
            }
        }
        wrong.extend(overlaps(&self.panels())?);
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(format!(
            "{} rows, {} panels, none overlapping",
            rows.len(),
            panels.len()
        ))
    }

    /// Every expression of panels, annotations and variables.
    ///
    /// # Errors
    /// When a variable asks something that is not understood here.
    pub(crate) fn questions(&self) -> Result<Vec<Question>> {
        let mut questions = Vec::new();
        for panel in self.panels() {
            let targets = panel.get("targets").and_then(Value::as_array);
            for target in targets.into_iter().flatten() {
                questions.push(Question {
                    asker: format!("panel «{}»", text(panel, "/title")),
                    expression: text(target, "/expr").to_owned(),
                });
            }
        }
        let list = |pointer| self.0.pointer(pointer).and_then(Value::as_array);
        for annotation in list("/annotations/list").into_iter().flatten() {
            if annotation.get("expr").is_some() {
                questions.push(Question {
                    asker: format!("annotation «{}»", text(annotation, "/name")),
                    expression: text(annotation, "/expr").to_owned(),
                });
            }
        }
        for variable in list("/templating/list").into_iter().flatten() {
            if text(variable, "/type") != "query" {
                continue;
            }
            let query = text(variable, "/query/query");
            let (series, label) = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|inside| inside.rsplit_once(", "))
                .with_context(|| format!("the variable asks {query}, not for label values"))?;
            questions.push(Question {
                asker: format!("variable «{}»", text(variable, "/name")),
                expression: format!("group by ({label}) ({series})"),
            });
        }
        if let Some(empty) = questions
            .iter()
            .find(|question| question.expression.is_empty())
        {
            bail!("{} asks nothing", empty.asker);
        }
        Ok(questions)
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What a person misses in a panel.
fn lacks(panel: &Value) -> Vec<&'static str> {
    let mut lacks = Vec::new();
    if text(panel, "/description").len() < 20 {
        lacks.push("a description");
    }
    if text(panel, "/fieldConfig/defaults/unit").is_empty() {
        lacks.push("a unit");
    }
    if !["prometheus", "jaeger"].contains(&text(panel, "/datasource/uid")) {
        lacks.push("one of the two data sources");
    }
    let targets = panel.get("targets").and_then(Value::as_array);
    let mut targets = targets.into_iter().flatten().peekable();
    if targets.peek().is_none() {
        lacks.push("a query");
    }
    if targets.any(|target| text(target, "/legendFormat").is_empty()) {
        lacks.push("a name for each line");
    }
    let hidden = panel
        .pointer("/options/legend/showLegend")
        .and_then(Value::as_bool);
    if text(panel, "/type") == "timeseries" && hidden != Some(true) {
        lacks.push("a legend");
    }
    lacks
}

/// A place on the grid: left, top, right, bottom; the last two are outside.
type Area = (i64, i64, i64, i64);

fn overlaps(panels: &[&Value]) -> Result<Vec<String>> {
    let mut areas: Vec<(&str, Area)> = Vec::new();
    for panel in panels {
        let title = text(panel, "/title");
        let at = |field: &str| {
            panel
                .pointer(&format!("/gridPos/{field}"))
                .and_then(Value::as_i64)
                .with_context(|| format!("«{title}» has no gridPos.{field}"))
        };
        let (x, y) = (at("x")?, at("y")?);
        areas.push((title, (x, y, x + at("w")?, y + at("h")?)));
    }
    let mut wrong = Vec::new();
    for (index, (title, area)) in areas.iter().enumerate() {
        if area.0 < 0 || area.1 < 0 || area.2 > COLUMNS || area.2 <= area.0 || area.3 <= area.1 {
            wrong.push(format!("«{title}» is outside of the grid"));
        }
        for (other_title, other) in areas.iter().skip(index + 1) {
            if area.0 < other.2 && other.0 < area.2 && area.1 < other.3 && other.1 < area.3 {
                wrong.push(format!("«{title}» and «{other_title}» overlap"));
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn panel(title: &str, x: i64, y: i64, w: i64, h: i64) -> Value {
        json!({"title": title, "gridPos": {"x": x, "y": y, "w": w, "h": h}})
    }

    #[test]
    fn neighbours_do_not_overlap_and_intruders_do() {
        let (a, b, c) = (
            panel("a", 0, 0, 12, 8),
            panel("b", 12, 0, 12, 8),
            panel("c", 0, 8, 24, 1),
        );
        assert_eq!(overlaps(&[&a, &b, &c]).unwrap(), Vec::<String>::new());
        let intruder = panel("d", 11, 7, 2, 1);
        assert_eq!(
            overlaps(&[&a, &b, &c, &intruder]).unwrap(),
            ["«a» and «d» overlap", "«b» and «d» overlap"]
        );
        let wide = panel("e", 20, 20, 8, 1);
        assert_eq!(overlaps(&[&wide]).unwrap(), ["«e» is outside of the grid"]);
        assert!(overlaps(&[&json!({"title": "nowhere"})]).is_err());
    }

    #[test]
    fn a_bare_panel_lacks_everything() {
        assert_eq!(
            lacks(&json!({"type": "timeseries"})),
            [
                "a description",
                "a unit",
                "one of the two data sources",
                "a query",
                "a legend"
            ]
        );
    }

    #[test]
    fn the_dashboard_of_the_lab_keeps_its_promises() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../grafana/dashboards/memory-leak-lab.json");
        let dashboard = Dashboard::read(&file).unwrap();
        dashboard.check().unwrap();
        let questions = dashboard.questions().unwrap();
        for asker in [
            "panel «Request Rate vs Memory Growth»",
            "panel «$plugin: retained · live · linear»",
            "annotation «Leak switched on»",
            "annotation «Cleared»",
            "annotation «Reset»",
            "annotation «Exhausted»",
            "variable «plugin»",
        ] {
            assert!(
                questions.iter().any(|question| question.asker == asker),
                "{asker}"
            );
        }
    }
}
