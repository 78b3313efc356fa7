//! The exercises of the README, block by block as a person pastes them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::http;
use xtask_support::report::Report;
use xtask_support::tools::{on_path, run_quietly};

/// The block that ends the service.
const LOAD_TEST: &str = "docker compose run";

/// One block of commands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    exercise: u32,
    pub(super) commands: String,
}

impl Block {
    fn is_load_test(&self) -> bool {
        self.commands.contains(LOAD_TEST)
    }
}

/// Runs every block but the last one and checks what the text promises. Returns the last block.
///
/// # Errors
/// When the README has no exercises.
pub(super) fn run(root: &Path, report: &mut Report) -> Result<Option<Block>> {
    let readme = fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    let mut blocks = blocks(&readme);
    let last = blocks.pop_if(|block| block.is_load_test());
    ensure!(last.is_some(), "the last exercise has no load test");
    for program in ["bash", "curl", "jq"] {
        if let Err(reason) = on_path(program) {
            report.skip("the exercises", reason);
            return Ok(last);
        }
    }
    for exercise in 1..=6 {
        report.check(&format!("exercise {exercise}, as printed"), || {
            let mut shown = String::new();
            let of_exercise = blocks.iter().filter(|block| block.exercise == exercise);
            for block in of_exercise.clone() {
                shown += &paste(root, &block.commands)?;
            }
            let seen = promised(exercise, &shown)?;
            Ok(format!("{} blocks; {seen}", of_exercise.count()))
        });
    }
    Ok(last)
}

/// Runs a block. No command in it may fail.
fn paste(root: &Path, commands: &str) -> Result<String> {
    let mut bash = Command::new("bash");
    let out = run_quietly(
        bash.args(["-e", "-o", "pipefail", "-c", commands])
            .current_dir(root),
    )?;
    ensure!(!out.contains("\"error\""), "{commands}\n{out}");
    Ok(out)
}

/// What the text of an exercise says that its commands show.
fn promised(exercise: u32, shown: &str) -> Result<String> {
    match exercise {
        1 => leak_is("cache", 0, false),
        2 => leak_is("cache", 1000, true),
        3 => leak_is("cache", 1500, true),
        4 => {
            for expected in ["growing_allocations", "\"count_diff\": 200", "by_line"] {
                ensure!(shown.contains(expected), "no {expected}: {shown}");
            }
            let line = shown
                .split('"')
                .find(|text| text.starts_with("plugins/cache/src/lib.rs:"));
            Ok(line.context("no source line of the cache")?.to_owned())
        }
        5 => leak_is("cache", 0, false),
        _ => {
            for expected in [
                "\"count\": 500",
                "\"callbacks_removed\": 500",
                "\"total_removed\": 500",
            ] {
                ensure!(shown.contains(expected), "no {expected}: {shown}");
            }
            Ok("500 listeners and 500 records, removed".to_owned())
        }
    }
}

fn leak_is(name: &str, objects: u64, enabled: bool) -> Result<String> {
    let status = http::json("http://localhost:8080/admin/leaks/status")?;
    let field = |field: &str| status.pointer(&format!("/leaks/{name}/{field}"));
    let found = field("count").and_then(Value::as_u64);
    ensure!(
        found == Some(objects),
        "{name} retains {found:?}, not {objects}"
    );
    ensure!(
        field("enabled").and_then(Value::as_bool) == Some(enabled),
        "{name} should be {}",
        if enabled { "on" } else { "off" }
    );
    Ok(format!("{name} retains {objects} objects"))
}

/// The `bash` blocks below the headings `### Exercise N`.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut exercise = None;
    let mut open: Option<String> = None;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("### Exercise ") {
            exercise = heading.split(':').next().and_then(|n| n.parse().ok());
        } else if line.starts_with("## ") {
            exercise = None;
        } else if line == "```bash" {
            open = Some(String::new());
        } else if line == "```" {
            if let (Some(commands), Some(exercise)) = (open.take(), exercise) {
                blocks.push(Block { exercise, commands });
            }
        } else if let Some(commands) = &mut open {
            commands.push_str(line);
            commands.push('\n');
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_exercises_are_read() {
        let page = "## A\n```bash\na\n```\n### Exercise 2: B\n```bash\nb\nc\n```\n```json\nd\n```\n## E\n```bash\ne\n```\n";
        let expected = Block {
            exercise: 2,
            commands: "b\nc\n".to_owned(),
        };
        assert_eq!(blocks(page), [expected]);
    }

    #[test]
    fn the_last_block_of_the_readme_is_the_load_test() {
        let blocks = blocks(include_str!("../../../../README.md"));
        let load_tests = blocks.iter().filter(|block| block.is_load_test());
        assert_eq!(load_tests.count(), 1);
        assert!(blocks.last().unwrap().is_load_test());
    }
}
