//! Tests the alert rules on what `cargo xtask record-shapes` recorded of each pattern.
//!
//! promtool evaluates the rules over each recording. It only compares, so each query expects
//! nothing and promtool prints what it got instead: when each alert fired first and last, and how
//! many times it started.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use xtask_support::layout::RECORDED_SHAPES;
use xtask_support::workspace::Workspace;

mod judgement;
mod recording;

use judgement::Judged;
use recording::{Recording, Shape};

/// The rules of a time scale.
#[derive(Debug)]
pub(super) struct Scale {
    /// The file of its recordings, without its ending.
    name: &'static str,
    rules: &'static str,
    /// The end of the name of each alert.
    suffix: &'static str,
    /// Seconds between two samples, and between two evaluations of the rules.
    step_seconds: u64,
    /// The latest time at which a leak of at least 2 KB/s is suspected.
    suspected_after_seconds: u64,
    /// A leak is suspected if the memory limit is at most this far away.
    horizon_seconds: u64,
    /// How long an alert stays on after the growth ended: its windows.
    forgotten_after_seconds: u64,
}

impl Scale {
    /// `lab` or `production`.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// Both time scales.
pub(super) const SCALES: &[Scale] = &[
    Scale {
        name: "lab",
        rules: "leaks-lab.yml",
        suffix: "Lab",
        step_seconds: 5,
        suspected_after_seconds: 650,
        horizon_seconds: 48 * 3600,
        forgotten_after_seconds: 700,
    },
    Scale {
        name: "production",
        rules: "leaks.yml",
        suffix: "",
        step_seconds: 60,
        suspected_after_seconds: 5400,
        horizon_seconds: 4 * 3600,
        forgotten_after_seconds: 5400,
    },
];

/// An alert during one recording, in seconds since its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Firing {
    first: u64,
    last: u64,
    starts: u64,
}

/// What fired, by the name of the alert without its suffix.
type Firings = BTreeMap<String, Firing>;

/// Checks the rules of a scale, and prints a table.
///
/// # Errors
/// When a leak is not reported, a decoy is, or an alert stops and starts again.
pub(super) fn check(promtool: &Path, workspace: &Workspace, scale: &Scale) -> Result<String> {
    let root = workspace.root();
    let file = root
        .join(RECORDED_SHAPES)
        .join(format!("{}.txt", scale.name));
    let text = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}: cargo xtask record-shapes", file.display()))?;
    let recording = Recording::parse(&text)?;
    let rules = root.join("compose/prometheus/rules").join(scale.rules);
    fs::create_dir_all(workspace.scratch())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chunks: Vec<&[Shape]> = recording
        .shapes
        .chunks(recording.shapes.len().div_ceil(threads))
        .collect();
    let fired = std::thread::scope(|scope| {
        let running: Vec<_> = (0_usize..)
            .zip(chunks)
            .map(|(number, shapes)| {
                let name = format!("shapes-{}-{number}.yml", scale.name);
                let file = workspace.scratch().join(name);
                let rules = &rules;
                scope.spawn(move || evaluate(promtool, &file, rules, shapes, scale))
            })
            .collect();
        let mut fired = BTreeMap::new();
        for thread in running {
            let some = thread
                .join()
                .map_err(|_panic| anyhow!("a thread panicked"))?;
            fired.extend(some?);
        }
        anyhow::Ok(fired)
    })?;
    let judged: Vec<Judged> = recording
        .shapes
        .iter()
        .map(|shape| {
            let firings = fired.get(&shape.title()).cloned().unwrap_or_default();
            Judged::new(shape, firings, scale)
        })
        .collect();
    print!("{}", judgement::table(&judged, scale));
    let faults: Vec<String> = judged.iter().flat_map(Judged::faults).collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(format!("{} recordings", judged.len()))
}

/// Has promtool evaluate the rules over these shapes. `file` is for its tests.
fn evaluate(
    promtool: &Path,
    file: &Path,
    rules: &Path,
    shapes: &[Shape],
    scale: &Scale,
) -> Result<BTreeMap<String, Firings>> {
    fs::write(file, tests_of(shapes, rules, scale))?;
    let output = Command::new(promtool)
        .args(["test", "rules"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .context("cannot start promtool")?;
    let output = [output.stdout, output.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    let fired = firings(&output, scale.suffix);
    ensure!(
        fired.len() == shapes.len(),
        "promtool evaluated {} of {} recordings: {}",
        fired.len(),
        shapes.len(),
        output.chars().take(500).collect::<String>()
    );
    Ok(fired)
}

/// promtool's test file: one test for each shape.
fn tests_of(shapes: &[Shape], rules: &Path, scale: &Scale) -> String {
    let step = scale.step_seconds;
    let mut text = format!(
        "rule_files: [{:?}]\nevaluation_interval: {step}s\ntests:\n",
        rules.display().to_string()
    );
    for shape in shapes {
        let title = shape.title();
        let end = shape.seconds(step);
        let more = shape.live.len().saturating_sub(1);
        let of_plugin = format!("job=\"leaky-service\", instance=\"lab\", plugin={title:?}");
        let of_host = "job=\"leaky-service\", instance=\"lab\"";
        let resident: Vec<String> = shape
            .linear
            .iter()
            .map(|linear| (linear + HOST_BYTES).to_string())
            .collect();
        let series = [
            (
                format!("leak_plugin_heap_live_bytes{{{of_plugin}}}"),
                shape.live_text.clone(),
            ),
            (
                format!("leak_plugin_linear_memory_bytes{{{of_plugin}}}"),
                shape.linear_text.clone(),
            ),
            (
                format!("leak_plugin_memory_limit_bytes{{{of_plugin}}}"),
                format!("{PLUGIN_LIMIT_BYTES}x{more}"),
            ),
            (
                format!("leak_memory_limit_bytes{{{of_host}}}"),
                format!("{PROCESS_LIMIT_BYTES}x{more}"),
            ),
            (
                format!("process_resident_memory_bytes{{{of_host}}}"),
                resident.join(" "),
            ),
        ];
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  - interval: {step}s\n    input_series:");
        for (name, values) in series {
            let _ = writeln!(text, "      - series: '{name}'\n        values: '{values}'");
        }
        let _ = writeln!(
            text,
            "    promql_expr_test:\n      - eval_time: {end}s\n        expr: '{}'\n        exp_samples: []",
            query(&title, end.max(step), step)
        );
    }
    text
}

/// The resident memory of a host without plugins, about what a real one has.
const HOST_BYTES: u64 = 30 << 20;
/// The memory limit of the lab.
const PROCESS_LIMIT_BYTES: u64 = 256 << 20;
/// The memory limit of a plugin unless it is set.
const PLUGIN_LIMIT_BYTES: u64 = 4 << 30;

/// Asks when each alert fired. promtool prints values with two digits and labels in full, so the
/// numbers are labels.
fn query(title: &str, range: u64, step: u64) -> String {
    let firing = r#"ALERTS{alertstate="firing"}"#;
    let what = |what: &str, expression: &str| {
        format!(
            r#"count_values by (alertname, what) ("value", label_replace({expression}, "what", "{what}", "", ""))"#
        )
    };
    let parts = [
        what(
            "first",
            &format!("min by (alertname) (min_over_time(timestamp({firing})[{range}s:{step}s]))"),
        ),
        what(
            "last",
            &format!("max by (alertname) (max_over_time(timestamp({firing})[{range}s:{step}s]))"),
        ),
        what(
            "starts",
            &format!(
                "max by (alertname) (count_over_time(({firing} unless {firing} offset {step}s)[{range}s:{step}s]))"
            ),
        ),
        what("evaluated", "vector(1)"),
    ];
    format!(
        r#"label_replace({}, "shape", "{title}", "", "")"#,
        parts.join(" or ")
    )
}

/// Reads the answers of all queries from promtool's output, by the title of the shape.
fn firings(output: &str, suffix: &str) -> BTreeMap<String, Firings> {
    let mut shapes: BTreeMap<String, Firings> = BTreeMap::new();
    let answers = output
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("got: "));
    for answer in answers {
        for labels in answer.split('{').skip(1) {
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split('"').next()
            };
            let (Some(shape), Some(what), Some(value)) =
                (label("shape"), label("what"), label("value"))
            else {
                continue;
            };
            let firings = shapes.entry(shape.to_owned()).or_default();
            let Some(alert) = label("alertname") else {
                continue;
            };
            let alert = alert.strip_suffix(suffix).unwrap_or(alert);
            let firing = firings.entry(alert.to_owned()).or_default();
            let value = value.parse().unwrap_or_default();
            match what {
                "first" => firing.first = value,
                "last" => firing.last = value,
                "starts" => firing.starts = value,
                _ => {}
            }
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_read_from_the_labels() {
        let output = r#"
        exp: nil
        got: {alertname="LeakSuspectLab", shape="cache 10 steady", value="95", what="first"} 1E+00, {alertname="LeakSuspectLab", shape="cache 10 steady", value="750", what="last"} 1E+00, {alertname="LeakSuspectLab", shape="cache 10 steady", value="1", what="starts"} 1E+00, {shape="cache 10 steady", value="1", what="evaluated"} 1E+00
        got: {shape="warm-up 2 pauses", value="1", what="evaluated"} 1E+00
"#;
        let fired = firings(output, "Lab");
        let leak = &fired["cache 10 steady"]["LeakSuspect"];
        let expected = Firing {
            first: 95,
            last: 750,
            starts: 1,
        };
        assert_eq!(*leak, expected);
        assert!(fired["warm-up 2 pauses"].is_empty());
    }
}
