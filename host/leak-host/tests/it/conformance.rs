//! Conformance checks of plugins: shipped plugins pass every check, and each fixture fails the one
//! check that it is made for.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::components::{LAB, component};

/// The checks in every report, in their order.
const CHECKS: [&str; 10] = [
    "contract",
    "imports",
    "calls",
    "retained",
    "counts",
    "disabled",
    "fixed",
    "clear",
    "source",
    "determinism",
];

/// Runs the subcommand `check` of the host.
fn run_check(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leak-host"));
    command.arg("check").args(args).output().unwrap()
}

/// The report on a component, and the exit code of the command.
fn report(name: &str) -> (Value, Option<i32>) {
    let file = component(name).to_str().unwrap();
    // A long deadline, because a busy machine is slow and these tests are not about the deadline.
    let output = run_check(&[file, "--json", "--plugin-deadline", "20s"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (report, output.status.code())
}

/// Name and status of each check. Asserts that each names the promise that it checks.
fn rows(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["checks"].as_array().unwrap().iter();
    rows.map(|row| {
        assert!(!row["promise"].as_str().unwrap().is_empty());
        (
            row["check"].as_str().unwrap(),
            row["status"].as_str().unwrap(),
        )
    })
    .collect()
}

/// What one check found.
fn finding<'a>(report: &'a Value, check: &str) -> &'a str {
    let rows = report["checks"].as_array().unwrap();
    let row = rows.iter().find(|row| row["check"] == json!(check));
    row.unwrap()["found"].as_str().unwrap()
}

#[test]
fn shipped_plugins_pass_every_check() {
    for plugin in LAB.iter().chain(&["template"]) {
        let (report, code) = report(plugin);
        let expected: Vec<_> = CHECKS.iter().map(|check| (*check, "pass")).collect();
        assert_eq!(rows(&report), expected, "{plugin}: {report:#}");
        assert_eq!((code, &report["passed"]), (Some(0), &json!(true)));
        assert_eq!(report["id"], json!(plugin));
        let source = format!("plugins/{plugin}/src/");
        assert!(
            finding(&report, "source").starts_with(&source),
            "{report:#}"
        );
    }
}

#[test]
fn each_fixture_fails_the_check_that_it_is_made_for() {
    for (plugin, broken, says) in [
        ("fixture-misreports", "retained", "it reports -"),
        (
            "fixture-miscounts",
            "counts",
            "objects: 2 requests triggered",
        ),
        ("fixture-keeps", "clear", "after clear"),
        ("fixture-unfixed", "fixed", "then at"),
        ("fixture-dice", "determinism", "in the second instance"),
        (
            "fixture-restless",
            "disabled",
            "calls of retained and configure",
        ),
    ] {
        let (report, code) = report(plugin);
        let expected: Vec<_> = CHECKS
            .iter()
            .map(|check| (*check, if *check == broken { "fail" } else { "pass" }))
            .collect();
        assert_eq!(rows(&report), expected, "{plugin}: {report:#}");
        assert!(finding(&report, broken).contains(says), "{report:#}");
        assert_eq!((code, &report["passed"]), (Some(1), &json!(false)));
    }
}

#[test]
fn a_component_that_cannot_run_fails_the_check_that_shows_why() {
    for (plugin, broken, says) in [
        ("fixture-not-a-plugin", "contract", "leak-lab:plugin"),
        ("fixture-nosy", "imports", "wasi:filesystem"),
        ("fixture-errs", "calls", "request 1 failed"),
        // The finding names the source line, too; see below.
        ("fixture-traps", "calls", "told to panic"),
    ] {
        let (report, code) = report(plugin);
        let rows = rows(&report);
        assert!(rows.contains(&(broken, "fail")), "{plugin}: {report:#}");
        assert!(finding(&report, broken).contains(says), "{report:#}");
        assert_eq!(code, Some(1));
        let contract = if broken == "contract" { "fail" } else { "pass" };
        assert_eq!(rows[0], ("contract", contract), "{plugin}");
    }
    let (traps, _) = report("fixture-traps");
    assert!(
        finding(&traps, "calls").contains("at plugins/fixtures/fixture-traps/src/lib.rs:"),
        "{traps:#}"
    );
}

#[test]
fn the_check_command_prints_a_table_and_sets_the_exit_code() {
    let cache = component("cache").to_str().unwrap();
    let output = run_check(&[cache, "--requests", "50"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.starts_with("cache 0.1.0: 50 requests per run"),
        "{text}"
    );
    assert!(text.ends_with("conforms\n"), "{text}");
    assert_eq!(text.lines().count(), CHECKS.len() + 2, "{text}");

    let failing = component("fixture-misreports").to_str().unwrap();
    let output = run_check(&[failing, "--requests", "50"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("fail    retained"), "{text}");
    assert!(text.contains("promised: the bytes"), "{text}");

    for invalid in [
        &["no/such/file.wasm"] as &[&str],
        &[cache, "--requests", "5"],
        &[cache, "--max-plugin-size", "2KiB"],
        &[],
    ] {
        let output = run_check(invalid);
        assert_eq!(output.status.code(), Some(2), "{invalid:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{invalid:?}");
    }
}
