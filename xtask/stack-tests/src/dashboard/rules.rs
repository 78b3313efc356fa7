//! What every panel must be, so that it reads the same while the service is idle, leaks or is dead,
//! and so that the dashboard works with another Prometheus.

use std::collections::BTreeMap;

use serde_json::Value;

use super::text;

/// The variables that make the dashboard work elsewhere, and the one of the repeated row.
const VARIABLES: [&str; 5] = ["datasource", "traces", "job", "instance", "plugin"];

/// The matchers of every selector: all panels show one process.
const ONE_PROCESS: &str = r#"{job="$job", instance="$instance""#;

/// The matcher of every selector of a panel that shows all processes.
const ONE_JOB: &str = r#"{job="$job""#;

/// The beginnings of the names of series.
const SERIES: [&str; 6] = [
    "leak_",
    "process_",
    "http_",
    "ALERTS",
    "revision:",
    "plugin:",
];

/// A colour that is neither good nor bad.
const NEUTRAL: &str = "text";

/// The rules of all panels together.
pub(super) fn broken(dashboard: &Value, panels: &[&Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let list = dashboard
        .pointer("/templating/list")
        .and_then(Value::as_array);
    let names: Vec<&str> = list
        .into_iter()
        .flatten()
        .map(|variable| text(variable, "/name"))
        .collect();
    for variable in VARIABLES {
        if !names.contains(&variable) {
            wrong.push(format!("there is no variable {variable}"));
        }
    }
    for panel in panels {
        let title = text(panel, "/title");
        wrong.extend(
            broken_in(panel)
                .into_iter()
                .map(|rule| format!("«{title}»: {rule}")),
        );
    }
    wrong.extend(colours_that_differ(panels));
    wrong
}

/// The rules that one panel breaks.
fn broken_in(panel: &Value) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let expressions = expressions(panel);
    if expressions.iter().any(|e| !selects(e, ONE_PROCESS)) {
        wrong.push("a selector lacks job and instance");
    }
    match text(panel, "/type") {
        "timeseries" => {
            wrong.extend(broken_in_chart(panel));
            if expressions
                .iter()
                .any(|e| e.contains("topk(") && !e.contains("@ end()"))
            {
                wrong.push("topk chooses other lines at each step: choose them at `@ end()`");
            }
        }
        "stat" | "gauge" | "bargauge"
            if !expressions.iter().all(|e| e.ends_with("or vector(0)"))
                && !is_neutral_without_data(panel) =>
        {
            wrong.push("without data it has the colour of a value");
        }
        _ => {}
    }
    wrong
}

fn broken_in_chart(panel: &Value) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let number = |pointer| panel.pointer(pointer).and_then(Value::as_f64);
    if number("/fieldConfig/defaults/min") != Some(0.0) {
        wrong.push("its axis does not start at 0");
    }
    let legend = |field| panel.pointer("/options/legend").and_then(|l| l.get(field));
    if legend("sortBy") != Some(&"Last *".into()) || legend("sortDesc") != Some(&true.into()) {
        wrong.push("its legend is not sorted by the last value, descending");
    }
    let stacking = text(panel, "/fieldConfig/defaults/custom/stacking/mode");
    if !["", "none"].contains(&stacking)
        && number("/fieldConfig/defaults/custom/lineWidth") != Some(0.0)
    {
        wrong.push("a part of the stack that is zero paints an edge: lineWidth is not 0");
    }
    if by_plugin(panel)
        && text(panel, "/fieldConfig/defaults/color/mode") != "palette-classic-by-name"
    {
        wrong.push("a plugin without a colour of its own is not coloured by its name");
    }
    wrong
}

fn expressions(panel: &Value) -> Vec<&str> {
    let targets = panel.get("targets").and_then(Value::as_array);
    let targets = targets.into_iter().flatten();
    targets.map(|target| text(target, "/expr")).collect()
}

/// True when each selector of the panel names the job.
pub(super) fn names_the_job(panel: &Value) -> bool {
    expressions(panel).iter().all(|e| selects(e, ONE_JOB))
}

/// True when these matchers follow each name of a series.
fn selects(expression: &str, matchers: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let (_, from) = rest.split_at(start);
        let end = from.find(|c| !is_name(c)).unwrap_or(from.len());
        let (name, after) = from.split_at(end);
        if SERIES.iter().any(|series| name.starts_with(series)) && !after.starts_with(matchers) {
            return false;
        }
        rest = after;
    }
    true
}

fn is_neutral_without_data(panel: &Value) -> bool {
    let mappings = panel
        .pointer("/fieldConfig/defaults/mappings")
        .and_then(Value::as_array);
    mappings.into_iter().flatten().any(|mapping| {
        text(mapping, "/options/match") == "null+nan"
            && text(mapping, "/options/result/color") == NEUTRAL
    })
}

/// True for a chart with one line for each plugin.
fn by_plugin(panel: &Value) -> bool {
    let targets = panel.get("targets").and_then(Value::as_array);
    let mut targets = targets.into_iter().flatten();
    text(panel, "/type") == "timeseries"
        && targets.any(|target| text(target, "/legendFormat") == "{{plugin}}")
}

/// A plugin has the same colour in each chart, and no other plugin has it.
fn colours_that_differ(panels: &[&Value]) -> Vec<String> {
    let charts = panels.iter().filter(|panel| by_plugin(panel));
    let mut wrong = Vec::new();
    let mut first: Option<BTreeMap<&str, &str>> = None;
    for panel in charts {
        let found = colours(panel);
        let mut owners = BTreeMap::new();
        for (plugin, colour) in &found {
            if let Some(other) = owners.insert(colour, plugin) {
                wrong.push(format!("{other} and {plugin} have the same colour"));
            }
        }
        if first.get_or_insert_with(|| found.clone()) != &found {
            let title = text(panel, "/title");
            wrong.push(format!("«{title}»: a plugin has another colour elsewhere"));
        }
    }
    wrong
}

/// The fixed colours of a chart, except that of the requests, which are no plugin.
fn colours(panel: &Value) -> BTreeMap<&str, &str> {
    let overrides = panel
        .pointer("/fieldConfig/overrides")
        .and_then(Value::as_array);
    let mut found = BTreeMap::new();
    for of_field in overrides.into_iter().flatten() {
        let name = text(of_field, "/matcher/options");
        let properties = of_field.get("properties").and_then(Value::as_array);
        for property in properties.into_iter().flatten() {
            if text(property, "/id") == "color" && name != "requests" {
                found.insert(name, text(property, "/value/fixedColor"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use xtask_support::components::EXERCISES;
    use xtask_support::layout::{DASHBOARD, PLUGINS};
    use xtask_support::workspace::Workspace;

    use super::*;

    /// A chart that breaks no rule.
    fn chart() -> Value {
        json!({
            "type": "timeseries",
            "title": "a",
            "targets": [{
                "expr": r#"sum by (plugin) (leak_enabled{job="$job", instance="$instance"})"#,
                "legendFormat": "{{plugin}}",
            }],
            "fieldConfig": {
                "defaults": {
                    "min": 0,
                    "color": {"mode": "palette-classic-by-name"},
                    "custom": {"lineWidth": 0, "stacking": {"mode": "normal"}},
                },
                "overrides": [
                    {"matcher": {"id": "byName", "options": "cache"},
                     "properties": [{"id": "color", "value": {"fixedColor": "blue"}}]},
                    {"matcher": {"id": "byName", "options": "history"},
                     "properties": [{"id": "color", "value": {"fixedColor": "green"}}]},
                ],
            },
            "options": {"legend": {"sortBy": "Last *", "sortDesc": true}},
        })
    }

    #[test]
    fn each_rule_of_a_chart_is_found_broken() {
        assert_eq!(broken_in(&chart()), Vec::<&str>::new());
        for (pointer, value, words) in [
            ("/fieldConfig/defaults/min", json!(null), "start at 0"),
            ("/fieldConfig/defaults/custom/lineWidth", json!(1), "edge"),
            ("/options/legend/sortBy", json!("Max"), "sorted"),
            ("/options/legend/sortDesc", json!(false), "sorted"),
            (
                "/fieldConfig/defaults/color/mode",
                json!("palette-classic"),
                "by its name",
            ),
            (
                "/targets/0/expr",
                json!("sum(leak_enabled)"),
                "job and instance",
            ),
            ("/targets/0/expr", json!("topk(5, up)"), "topk"),
        ] {
            let mut panel = chart();
            *panel.pointer_mut(pointer).unwrap() = value;
            let found = broken_in(&panel);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_number_without_data_is_neutral() {
        let mut panel = json!({"type": "stat", "targets": [{"expr": "up"}]});
        assert_eq!(
            broken_in(&panel),
            ["without data it has the colour of a value"]
        );
        panel["fieldConfig"]["defaults"]["mappings"] = json!([{"type": "special", "options": {
            "match": "null+nan", "result": {"text": "no service", "color": "text"}}}]);
        assert_eq!(broken_in(&panel), Vec::<&str>::new());
        let always = json!({"type": "stat", "targets": [{"expr": "count(up) or vector(0)"}]});
        assert_eq!(broken_in(&always), Vec::<&str>::new());
    }

    #[test]
    fn a_plugin_has_one_colour_of_its_own() {
        let (a, mut b) = (chart(), chart());
        assert_eq!(colours_that_differ(&[&a, &b]), Vec::<String>::new());
        let colour = "/fieldConfig/overrides/0/properties/0/value/fixedColor";
        *b.pointer_mut(colour).unwrap() = json!("red");
        assert_eq!(
            colours_that_differ(&[&a, &b]),
            ["«a»: a plugin has another colour elsewhere"]
        );
        *b.pointer_mut(colour).unwrap() = json!("green");
        assert_eq!(
            colours_that_differ(&[&b]),
            ["cache and history have the same colour"]
        );
    }

    #[test]
    fn every_plugin_of_the_lab_has_a_colour() {
        let workspace = Workspace::find().unwrap();
        let patterns = workspace.root().join(PLUGINS).join("patterns");
        let patterns = std::fs::read_dir(patterns).unwrap();
        let names = patterns.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let plugins: BTreeSet<String> = names
            .filter(|name| !name.contains('.'))
            .chain(EXERCISES.map(str::to_owned))
            .collect();
        let dashboard = super::super::Dashboard::read(&workspace.root().join(DASHBOARD)).unwrap();
        let panels = dashboard.panels();
        let chart = panels.iter().find(|panel| by_plugin(panel)).unwrap();
        let coloured: BTreeSet<String> = colours(chart).into_keys().map(str::to_owned).collect();
        assert_eq!(coloured, plugins);
    }

    #[test]
    fn every_selector_names_the_process() {
        for good in [
            r#"leak_enabled{job="$job", instance="$instance"} == 1"#,
            "up > 0",
            "",
        ] {
            assert!(selects(good, ONE_PROCESS), "{good}");
        }
        for bad in [
            "leak_enabled",
            r#"up + leak_enabled{plugin=~"$plugin"}"#,
            r#"leak_enabled{job="$job", instance="$instance"} > ALERTS{a="b"}"#,
        ] {
            assert!(!selects(bad, ONE_PROCESS), "{bad}");
        }
    }

    #[test]
    fn missing_variables_are_named() {
        let found = broken(&json!({"templating": {"list": [{"name": "job"}]}}), &[]);
        assert_eq!(found.len(), VARIABLES.len() - 1);
        assert_eq!(found[0], "there is no variable datasource");
    }
}
