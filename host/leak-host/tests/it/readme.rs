//! The documentation, checked against the real host: commands work as printed, the reference pages
//! are complete, and links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::components::{LAB, component, shipped};
use crate::lab::{Answer, Lab};

mod short_answers;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of a page, by its path from the root.
fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A fenced block of shell commands.
struct Block {
    /// The number in the heading `### Exercise N` above it, if there is one.
    exercise: Option<u32>,
    commands: String,
}

/// The shell blocks of a page, in their order.
fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut exercise = None;
    let mut open: Option<String> = None;
    for line in markdown.lines() {
        if let Some(commands) = &mut open {
            if line == "```" {
                let commands = open.take().unwrap();
                blocks.push(Block { exercise, commands });
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

/// Whether this machine has the programs that the commands need.
fn can_paste() -> bool {
    let answers = |program: &str| {
        Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let can = ["bash", "curl", "jq"].into_iter().all(answers);
    if !can {
        eprintln!("skipped: the commands need bash, curl and jq");
    }
    can
}

/// Runs a block in `folder` as a person would paste it. Only the port differs.
async fn paste(lab: &Lab, commands: &str, folder: &Path) -> String {
    let address = lab.address().to_owned();
    // Lines that need containers or Go, or build a component, are left out. Each is a command of
    // its own.
    let left_out = ["go ", "cargo ", "(cd target/my-leak ", "cp target/my-leak/"];
    let commands: String = commands
        .lines()
        .filter(|line| !line.contains("docker"))
        .filter(|line| !left_out.iter().any(|start| line.starts_with(start)))
        .map(|line| line.replace("localhost:8080", &address))
        .map(|line| line.replace("my-leak", "history") + "\n")
        .collect();
    let (shown, folder) = (commands.clone(), folder.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        Command::new("bash")
            .current_dir(folder)
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
    assert_eq!(err, "", "nothing is written to stderr: {shown}");
    assert!(
        !out.contains(r#""error""#),
        "no call is refused: {shown}\n{out}"
    );
    assert_ne!(out.trim(), "null", "the filter finds something: {shown}");
    out.into_owned()
}

/// The blocks of the README's exercises, or none if this machine cannot run them.
fn exercises() -> Option<Vec<Block>> {
    let blocks = blocks(&page("README.md"));
    let counts: Vec<_> = (1..=6).map(|number| of(&blocks, number).count()).collect();
    assert_eq!(counts, [2, 2, 1, 2, 3, 3], "each exercise has its blocks");
    can_paste().then_some(blocks)
}

fn of(blocks: &[Block], exercise: u32) -> impl Iterator<Item = &Block> {
    let belongs = move |block: &&Block| block.exercise == Some(exercise);
    blocks.iter().filter(belongs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exercises_work_as_they_are_printed() {
    let Some(blocks) = exercises() else { return };
    let lab = Lab::with(&LAB).start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    for block in of(&blocks, 1) {
        paste(&lab, &block.commands, folder).await;
    }
    assert_eq!(lab.leak("cache").await["count"], json!(0));

    for block in of(&blocks, 2) {
        paste(&lab, &block.commands, folder).await;
    }
    assert_eq!(lab.leak("cache").await["count"], json!(1000));

    for block in of(&blocks, 3) {
        paste(&lab, &block.commands, folder).await;
    }
    let count = lab.leak("cache").await["count"].clone();
    assert_eq!(count, json!(1500), "every request of the burst is counted");

    for block in of(&blocks, 5) {
        paste(&lab, &block.commands, folder).await;
    }
    let cache = lab.leak("cache").await;
    assert_eq!(cache["count"], json!(0));
    assert_eq!(cache["enabled"], json!(false));

    for block in of(&blocks, 6) {
        let out = paste(&lab, &block.commands, folder).await;
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
    let folder = tempfile::tempdir().unwrap();
    lab.enable("cache").await;
    let mut shown = String::new();
    for block in of(&blocks, 4) {
        shown += &paste(&lab, &block.commands, folder.path()).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_reference_pages_work_as_they_are_printed() {
    if !can_paste() {
        return;
    }
    for path in ["docs/admin-api.md", "docs/patterns.md"] {
        let lab = Lab::with(&LAB)
            .arg("--source-root")
            .arg(root().display().to_string())
            .start()
            .await;
        let folder = tempfile::tempdir().unwrap();
        // The component that the pages call `my-leak`.
        fs::copy(component("history"), folder.path().join("history.wasm")).unwrap();
        let blocks = blocks(&page(path));
        assert!(!blocks.is_empty(), "{path} has commands");
        for block in blocks {
            paste(&lab, &block.commands, folder.path()).await;
        }
    }
}

#[tokio::test]
async fn the_api_page_has_every_call() {
    let lab = Lab::with(&LAB).start().await;
    let page = page("docs/admin-api.md");
    let description = lab.get("/openapi.json").await;
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let call = format!("`{} {path}`", method.to_uppercase());
            assert!(page.contains(&call), "docs/admin-api.md lacks {call}");
        }
    }
}

#[tokio::test]
async fn the_metrics_page_has_every_metric() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    lab.traffic(20).await;
    let page = page("docs/metrics.md");
    let metrics = Answer::of(lab.request(reqwest::Method::GET, "/metrics")).await;
    let types = metrics
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in types.filter_map(|line| line.split_once(' ')) {
        let row = format!("| `{name}` | {kind} |");
        assert!(page.contains(&row), "docs/metrics.md lacks {row}");
    }
}

#[test]
fn the_operations_page_has_every_option_and_variable() {
    let (_, help) = Lab::with(&[]).arg("--help").run_to_the_end();
    let page = page("docs/operations.md");
    let options = help
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.strip_prefix("--").is_some_and(|name| !name.is_empty()));
    let variables = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split(['=', ']']).next());
    let names: BTreeSet<&str> = options
        .chain(variables)
        .filter(|name| !["--help", "--version"].contains(name))
        .collect();
    assert!(names.contains("--memory-limit") && names.contains("LEAK_LISTEN"));
    for name in names {
        let named = page.contains(&format!("`{name}`")) || page.contains(&format!("`{name} "));
        assert!(named, "docs/operations.md lacks {name}");
    }
}

/// Every Markdown page of the repository, by its path from the root.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/patterns", "plugins"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(Path::new(folder).join(name).display().to_string());
            }
        }
    }
    pages
}

/// The lines of a page outside of code blocks.
fn prose(markdown: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    markdown.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchors that GitHub makes from the headings of a page.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let anchor = |title: &str| {
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    prose(markdown)
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    for path in pages() {
        let text = page(&path);
        let links = prose(&text)
            .flat_map(|line| line.split("](").skip(1))
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => {
                    let folder = Path::new(&path).parent().unwrap();
                    folder.join(file).display().to_string()
                }
            };
            assert!(root().join(&target).exists(), "{path}: no file for {link}");
            if !heading.is_empty() {
                let anchors = anchors(&page(&target));
                assert!(anchors.contains(heading), "{path}: no heading for {link}");
            }
        }
    }
}

#[test]
fn blocks_are_found_under_their_exercise() {
    let text = "## Quick start\n```bash\na\n```\n### Exercise 2: Grow\n```bash\nb \\\n  c\n```\n\
                ```text\nnot a command\n```\n### Exercise 3: Burst\n```bash\nd\n```\n## End\n```bash\ne\n```\n";
    let found: Vec<_> = blocks(text)
        .into_iter()
        .map(|block| (block.exercise, block.commands))
        .collect();
    let expected = [
        (None, "a\n"),
        (Some(2), "b \\\n  c\n"),
        (Some(3), "d\n"),
        (None, "e\n"),
    ];
    assert_eq!(
        found,
        expected.map(|(exercise, commands)| (exercise, commands.to_owned()))
    );
}
