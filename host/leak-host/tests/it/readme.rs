//! The README's own commands, as they are printed, in a shell with curl and jq.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::components::LAB;
use crate::lab::Lab;

/// A fenced block of shell commands and the heading it stands under.
struct Block {
    exercise: u32,
    commands: String,
}

/// The shell blocks of the exercises, in their order.
fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut exercise = None;
    let mut open: Option<String> = None;
    for line in readme.lines() {
        if let Some(commands) = &mut open {
            if line == "```" {
                let commands = open.take().unwrap();
                blocks.extend(exercise.map(|exercise| Block { exercise, commands }));
            } else {
                commands.push_str(line);
                commands.push('\n');
            }
        } else if line == "```bash" {
            open = Some(String::new());
        } else if let Some(title) = line.strip_prefix("### Exercise ") {
            exercise = title
                .split(':')
                .next()
                .and_then(|number| number.parse().ok());
        } else if line.starts_with("## ") {
            exercise = None;
        }
    }
    blocks
}

/// True when the machine can run what the README shows.
fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Runs a block as a person would paste it; only the port is another one.
async fn paste(lab: &Lab, block: &Block) -> String {
    let address = lab.address().to_owned();
    // What needs the containers is left out; it is a line of its own.
    let commands: String = block
        .commands
        .lines()
        .filter(|line| !line.contains("docker"))
        .map(|line| line.replace("localhost:8080", &address) + "\n")
        .collect();
    let shown = commands.clone();
    let output = tokio::task::spawn_blocking(move || {
        Command::new("bash")
            .arg("-c")
            .arg(commands)
            .output()
            .expect("bash runs")
    });
    let output = output.await.unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{shown}\n{out}\n{err}");
    assert_eq!(err, "", "nothing complains: {shown}");
    assert!(
        !out.contains(r#""error""#),
        "no call is refused: {shown}\n{out}"
    );
    assert_ne!(out.trim(), "null", "the filter finds something: {shown}");
    out.into_owned()
}

/// The README's blocks, or none where the machine lacks what the exercises ask for.
fn exercises() -> Option<Vec<Block>> {
    if !["bash", "curl", "jq"].into_iter().all(has) {
        eprintln!("skipped: bash, curl and jq are what the exercises ask for");
        return None;
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let blocks = blocks(&fs::read_to_string(readme).unwrap());
    let counts = (1..=6).map(|number| of(&blocks, number).count());
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts, [2, 2, 1, 2, 3, 3], "each exercise has its blocks");
    Some(blocks)
}

fn of(blocks: &[Block], exercise: u32) -> impl Iterator<Item = &Block> {
    let belongs = move |block: &&Block| block.exercise == exercise;
    blocks.iter().filter(belongs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exercises_work_as_they_are_printed() {
    let Some(blocks) = exercises() else { return };
    let lab = Lab::with(&LAB).start().await;

    for block in of(&blocks, 1) {
        paste(&lab, block).await;
    }
    assert_eq!(lab.leak("cache").await["count"], json!(0));

    for block in of(&blocks, 2) {
        paste(&lab, block).await;
    }
    assert_eq!(lab.leak("cache").await["count"], json!(1000));

    for block in of(&blocks, 3) {
        paste(&lab, block).await;
    }
    let count = lab.leak("cache").await["count"].clone();
    assert_eq!(count, json!(1500), "none of the burst is lost");

    for block in of(&blocks, 5) {
        paste(&lab, block).await;
    }
    let cache = lab.leak("cache").await;
    assert_eq!(cache["count"], json!(0));
    assert_eq!(cache["enabled"], json!(false));

    for block in of(&blocks, 6) {
        let out = paste(&lab, block).await;
        for (leak, removed) in [
            ("listeners", r#""callbacks_removed": 500"#),
            ("history", r#""total_removed": 500"#),
        ] {
            if block.commands.contains(&format!("'.leaks.{leak}'")) {
                assert!(out.contains(r#""count": 500"#), "{leak}: {out}");
                assert!(out.contains(removed), "{leak}: {out}");
            }
        }
    }
    let status = lab.get("/admin/leaks/status").await;
    for leak in LAB {
        let enabled = &status["leaks"][leak]["enabled"];
        assert_eq!(enabled, &json!(true), "the last block enables {leak}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exercise_4_finds_the_line_of_the_leak() {
    let Some(blocks) = exercises() else { return };
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    let mut shown = String::new();
    for block in of(&blocks, 4) {
        shown += &paste(&lab, block).await;
    }
    assert_eq!(lab.leak("cache").await["count"], json!(200));
    for expected in [
        "baseline_set",
        "diff_computed",
        "growing_allocations",
        "by_line",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let line = shown.find("plugins/cache/src/");
    assert!(line.is_some(), "the plugin's own source is named: {shown}");
}

#[test]
fn blocks_are_found_under_their_exercise() {
    let text = "## Quick start\n```bash\nignored\n```\n### Exercise 2: Grow\n```bash\na \\\n  b\n```\n\
                ```text\nnot a command\n```\n### Exercise 3: Burst\n```bash\nc\n```\n## End\n```bash\nd\n```\n";
    let found: Vec<_> = blocks(text)
        .into_iter()
        .map(|block| (block.exercise, block.commands))
        .collect();
    assert_eq!(
        found,
        [(2, "a \\\n  b\n".to_owned()), (3, "c\n".to_owned())]
    );
}
