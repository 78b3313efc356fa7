//! The dashboard as JSON: its fixed properties, the layout of its panels, and its queries.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

mod rules;

/// The rows that the README names, in order. The last repeats for each plugin.
const ROWS: [&str; 5] = [
    "Memory Overview",
    "Leak Details",
    "Correlation Analysis",
    "Request Metrics",
    "Plugin: $plugin",
];

/// The rows of the dashboard of all hosts.
const FLEET_ROWS: [&str; 2] = ["Hosts", "Revisions"];

/// Width of Grafana's grid.
const COLUMNS: i64 = 24;

/// A PromQL expression and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// `panel «Growth»`, `annotation «Reset»`, `alert LeakSuspect`.
    pub(crate) origin: String,
    /// Unchanged, with Grafana's variables.
    pub(crate) expression: String,
}

#[derive(Debug)]
pub(crate) struct Dashboard(Value);

impl Dashboard {
    /// # Errors
    /// When the file cannot be read or is not JSON.
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

    /// The titles of the rows, in order.
    pub(crate) fn rows(&self) -> Vec<&str> {
        let panels = self.panels().into_iter();
        let rows = panels.filter(|panel| text(panel, "/type") == "row");
        rows.map(|row| text(row, "/title")).collect()
    }

    /// Checks the dashboard of all hosts: uid, rows, that no panels overlap, that each has a unit,
    /// a description, a legend and the data source variable, and that it shows one job.
    ///
    /// # Errors
    /// All violations together.
    pub(crate) fn check_fleet(&self) -> Result<String> {
        let mut wrong = Vec::new();
        if text(&self.0, "/uid") != "leak-lab-fleet" {
            wrong.push("/uid is not leak-lab-fleet".to_owned());
        }
        if self.rows() != FLEET_ROWS {
            wrong.push(format!("the rows are not {FLEET_ROWS:?}"));
        }
        let panels = self.panels();
        let ids: BTreeSet<_> = panels
            .iter()
            .map(|p| p.get("id").and_then(Value::as_i64))
            .collect();
        if ids.len() != panels.len() {
            wrong.push("an id is used twice".to_owned());
        }
        let panels: Vec<&Value> = panels
            .into_iter()
            .filter(|panel| text(panel, "/type") != "row")
            .collect();
        for panel in &panels {
            let title = text(panel, "/title");
            let missing = missing_in(panel);
            if !missing.is_empty() {
                wrong.push(format!("«{title}» lacks {}", missing.join(", ")));
            }
            if !rules::names_the_job(panel) {
                wrong.push(format!("«{title}»: a selector lacks the job"));
            }
        }
        wrong.extend(overlaps(&self.panels())?);
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(format!("{} panels, none overlapping", panels.len()))
    }

    /// Checks uid, title, times and rows, that no panels overlap, that each has a unit, a
    /// description, a legend and the data source variable, and the rules of `rules.rs`.
    ///
    /// # Errors
    /// All violations together.
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
        if rows.last().and_then(|row| row.get("collapsed")) != Some(&Value::Bool(true)) {
            wrong.push("the row of each plugin is not collapsed".to_owned());
        }
        let mut ids = BTreeSet::new();
        for panel in rows.iter().chain(&panels) {
            if !ids.insert(panel.get("id").and_then(Value::as_i64)) {
                wrong.push(format!("«{}»: its id is used twice", text(panel, "/title")));
            }
        }
        for panel in &panels {
            let missing = missing_in(panel);
            if !missing.is_empty() {
                wrong.push(format!(
                    "«{}» lacks {}",
                    text(panel, "/title"),
                    missing.join(", ")
                ));
            }
        }
        wrong.extend(rules::broken(&self.0, &panels));
        wrong.extend(overlaps(&self.panels())?);
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(format!(
            "{} rows, {} panels, none overlapping",
            rows.len(),
            panels.len()
        ))
    }

    /// The queries of panels, annotations and variables.
    ///
    /// # Errors
    /// When a query is empty, or a variable does not query label values.
    pub(crate) fn queries(&self) -> Result<Vec<Query>> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            let targets = panel.get("targets").and_then(Value::as_array);
            for target in targets.into_iter().flatten() {
                queries.push(Query {
                    origin: format!("panel «{}»", text(panel, "/title")),
                    expression: text(target, "/expr").to_owned(),
                });
            }
        }
        let list = |pointer| self.0.pointer(pointer).and_then(Value::as_array);
        for annotation in list("/annotations/list").into_iter().flatten() {
            if annotation.get("expr").is_some() {
                queries.push(Query {
                    origin: format!("annotation «{}»", text(annotation, "/name")),
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
                .with_context(|| format!("the variable queries {query}, not label values"))?;
            queries.push(Query {
                origin: format!("variable «{}»", text(variable, "/name")),
                expression: format!("group by ({label}) ({series})"),
            });
        }
        if let Some(empty) = queries.iter().find(|query| query.expression.is_empty()) {
            bail!("{} has an empty query", empty.origin);
        }
        Ok(queries)
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What a reader of the panel needs and does not find.
fn missing_in(panel: &Value) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if text(panel, "/description").len() < 20 {
        missing.push("a description");
    }
    if text(panel, "/fieldConfig/defaults/unit").is_empty() {
        missing.push("a unit");
    }
    if text(panel, "/datasource/uid") != "${datasource}" {
        missing.push("the data source variable");
    }
    let targets = panel.get("targets").and_then(Value::as_array);
    let mut targets = targets.into_iter().flatten().peekable();
    if targets.peek().is_none() {
        missing.push("a query");
    }
    if targets.any(|target| text(target, "/legendFormat").is_empty()) {
        missing.push("a name for each line");
    }
    let hidden = panel
        .pointer("/options/legend/showLegend")
        .and_then(Value::as_bool);
    if text(panel, "/type") == "timeseries" && hidden != Some(true) {
        missing.push("a legend");
    }
    missing
}

/// A panel's place on the grid: left, top, right, bottom. The last two are exclusive.
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
    use xtask_support::layout::DASHBOARD;
    use xtask_support::workspace::Workspace;

    use super::*;

    fn panel(title: &str, x: i64, y: i64, w: i64, h: i64) -> Value {
        json!({"title": title, "gridPos": {"x": x, "y": y, "w": w, "h": h}})
    }

    #[test]
    fn adjacent_panels_do_not_overlap() {
        let (a, b, c) = (
            panel("a", 0, 0, 12, 8),
            panel("b", 12, 0, 12, 8),
            panel("c", 0, 8, 24, 1),
        );
        assert_eq!(overlaps(&[&a, &b, &c]).unwrap(), Vec::<String>::new());
        let on_top = panel("d", 11, 7, 2, 1);
        assert_eq!(
            overlaps(&[&a, &b, &c, &on_top]).unwrap(),
            ["«a» and «d» overlap", "«b» and «d» overlap"]
        );
        let wide = panel("e", 20, 20, 8, 1);
        assert_eq!(overlaps(&[&wide]).unwrap(), ["«e» is outside of the grid"]);
        assert!(overlaps(&[&json!({"title": "nowhere"})]).is_err());
    }

    #[test]
    fn everything_is_missing_in_an_empty_panel() {
        assert_eq!(
            missing_in(&json!({"type": "timeseries"})),
            [
                "a description",
                "a unit",
                "the data source variable",
                "a query",
                "a legend"
            ]
        );
    }

    #[test]
    fn the_dashboard_of_the_lab_passes_and_has_these_queries() {
        let workspace = Workspace::find().unwrap();
        let file = workspace.root().join(DASHBOARD);
        let dashboard = Dashboard::read(&file).unwrap();
        dashboard.check().unwrap();
        let queries = dashboard.queries().unwrap();
        for origin in [
            "panel «Request Rate vs Memory Growth»",
            "panel «$plugin: retained · live · linear»",
            "annotation «Leak switched on»",
            "annotation «Cleared»",
            "annotation «Reset»",
            "annotation «Exhausted»",
            "variable «plugin»",
        ] {
            assert!(
                queries.iter().any(|query| query.origin == origin),
                "{origin}"
            );
        }
    }
}
