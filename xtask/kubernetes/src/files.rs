//! Rules, dashboards and load scripts of the chart are the files of the compose stack.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::layout::{ALERT_RULES, CHART, DASHBOARDS, K6_SCRIPTS};
use xtask_support::tools::run_quietly;
use xtask_support::workspace::Workspace;

use crate::chart::{Chart, at, find, parse};

/// Values with which the rules are those of the stack, and others.
const STACK_URLS: &str = r#"prometheusRule={"consoleUrl":"http://localhost:8080"}"#;
const OTHER_URLS: &str = r#"prometheusRule={"consoleUrl":"https://lab.example/{{ $labels.pod }}","runbookUrl":"https://pages.example/"}"#;

/// Files of a folder with this extension, by name.
fn files(workspace: &Workspace, folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = workspace.root().join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The rules are equal, and every address is a value.
///
/// # Errors
/// When one differs or is missing.
pub(crate) fn rules(workspace: &Workspace, chart: &Chart) -> Result<String> {
    let same = chart.objects(&[STACK_URLS])?;
    let other = chart.objects(&[OTHER_URLS])?;
    let mut alerts = 0;
    let files = files(workspace, ALERT_RULES, "yml")?;
    for file in &files {
        let expected = parse(&fs::read_to_string(file)?)?;
        let name = format!("leak-lab-{}", stem(file));
        let spec = at(find(&same, "PrometheusRule", &name)?, "/spec");
        ensure!(*spec == expected, "{name} differs from {}", file.display());
        let mut with_other_urls = at(find(&other, "PrometheusRule", &name)?, "/spec").clone();
        ensure!(
            !with_other_urls.to_string().contains("localhost"),
            "{name} has an address that is no value"
        );
        let mut expected = expected;
        alerts += move_urls(
            &mut expected,
            "https://lab.example/",
            "https://pages.example/",
        );
        move_urls(&mut with_other_urls, "", "");
        ensure!(
            with_other_urls == expected,
            "{name} differs in more than addresses"
        );
    }
    Ok(format!("{} files, {alerts} alerts", files.len()))
}

/// Puts other addresses into the annotations. Returns the number of alerts.
fn move_urls(rules: &mut Value, console: &str, pages: &str) -> usize {
    let mut alerts = 0;
    let groups = rules
        .get_mut("groups")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    for rule in groups.flat_map(|group| {
        group
            .get_mut("rules")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
    }) {
        let Some(annotations) = rule.get_mut("annotations").and_then(Value::as_object_mut) else {
            continue;
        };
        alerts += 1;
        for (name, from, to) in [
            (
                "console_url",
                "http://localhost:8080",
                format!("{console}{{{{ $labels.pod }}}}"),
            ),
            ("runbook_url", "docs/", format!("{pages}docs/")),
        ] {
            if let Some(Value::String(url)) = annotations.get_mut(name)
                && let Some(rest) = url.strip_prefix(from)
                && !pages.is_empty()
            {
                *url = format!("{to}{rest}");
            }
        }
    }
    alerts
}

/// `promtool check rules` on the rendered objects.
///
/// # Errors
/// With promtool's reason.
pub(crate) fn check_rules(promtool: &Path, chart: &Chart) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let mut check = Command::new(promtool);
    check.args(["check", "rules", "--lint=all", "--lint-fatal"]);
    let mut count = 0;
    for object in chart.objects(&[OTHER_URLS])? {
        if *at(&object, "/kind") == "PrometheusRule" {
            count += 1;
            // JSON is YAML.
            let file = folder.path().join(format!("{count}.yml"));
            fs::write(&file, at(&object, "/spec").to_string())?;
            check.arg(file);
        }
    }
    ensure!(count > 0, "there are no rules");
    run_quietly(&mut check)?;
    Ok(format!("{count} objects"))
}

/// Each dashboard is in a ConfigMap with the label of Grafana's sidecar.
///
/// # Errors
/// When one differs or is missing.
pub(crate) fn dashboards(workspace: &Workspace, chart: &Chart) -> Result<String> {
    let objects = chart.objects(&[])?;
    let files = files(workspace, DASHBOARDS, "json")?;
    for file in &files {
        let name = format!("leak-lab-dashboard-{}", stem(file));
        let map = find(&objects, "ConfigMap", &name)?;
        ensure!(*at(map, "/metadata/labels/grafana_dashboard") == "1");
        same_text(map, file)?;
    }
    Ok(format!("{} files", files.len()))
}

/// All load scripts are in one ConfigMap, because they import each other.
///
/// # Errors
/// When one differs or is missing.
pub(crate) fn load_scripts(workspace: &Workspace, chart: &Chart) -> Result<String> {
    let objects = chart.objects(&["loadTests.enabled=true"])?;
    let map = find(&objects, "ConfigMap", "leak-lab-k6")?;
    let files = files(workspace, K6_SCRIPTS, "js")?;
    for file in &files {
        same_text(map, file)?;
    }
    Ok(format!("{} files", files.len()))
}

fn same_text(map: &Value, file: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let found = at(map, "/data").get(name.as_ref()).and_then(Value::as_str);
    let found = found.with_context(|| format!("{name} is missing"))?;
    let expected = fs::read_to_string(file)?;
    // A block of YAML ends in exactly one line end.
    ensure!(
        found.trim_end() == expected.trim_end(),
        "{name} differs from {}",
        file.display()
    );
    Ok(())
}

/// The chart's application is the version of the workspace.
///
/// # Errors
/// When it is another.
pub(crate) fn app_version(workspace: &Workspace) -> Result<String> {
    let chart = fs::read_to_string(workspace.root().join(CHART).join("Chart.yaml"))?;
    let chart = parse(&chart)?;
    let expected = env!("CARGO_PKG_VERSION");
    ensure!(
        *at(&chart, "/appVersion") == expected,
        "Chart.yaml has appVersion {}, the workspace {expected}",
        *at(&chart, "/appVersion")
    );
    Ok(expected.to_owned())
}
