//! `--scenario FILE`: a scenario from the start of the host, and files that stop the start.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::components::LAB;
use crate::lab::Lab;

const SCENARIO: &str = "\
name: later
steps:
  - leak: cache
  - leak: history
    start_after: 24h
";

/// A file with this content, in a folder that lives as long as the result.
fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.yaml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[tokio::test]
async fn a_scenario_runs_from_the_start() {
    let (_folder, path) = file(SCENARIO);
    let lab = Lab::with(&LAB).args(["--scenario", &path]).start().await;
    let scenario = lab.get("/admin/scenario").await;
    assert_eq!(scenario["name"], json!("later"));
    assert_eq!(scenario["next"]["leak"], json!("history"));
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
}

#[test]
fn a_scenario_that_is_wrong_stops_the_start_with_line_and_field() {
    for (text, says) in [
        (
            SCENARIO.replace("24h", "1d"),
            "line 5, steps[1].start_after: takes a time",
        ),
        (
            SCENARIO.replace("history", "histroy"),
            "line 4, steps[1].leak: no such leak is loaded",
        ),
        ("name: x".repeat(20_000), "larger than 65536 bytes"),
    ] {
        let (_folder, path) = file(&text);
        let (status, output) = Lab::with(&LAB).args(["--scenario", &path]).run_to_the_end();
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(output.contains(says), "{output}");
        assert!(output.contains(&format!("--scenario {path}")), "{output}");
    }
    let (status, output) = Lab::with(&LAB)
        .args(["--scenario", "/no/such/file"])
        .run_to_the_end();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("--scenario /no/such/file"), "{output}");
}
