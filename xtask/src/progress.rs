//! What a person sees while a task of several minutes runs: which step, how long it took, and at
//! the end one line that can be read by a program as well.

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Announces a step on stderr, where cargo's own progress goes.
pub(crate) fn announce(step: impl Display) {
    eprintln!("\n==> {step}");
}

/// Runs one command to its end, its output shown as it comes.
///
/// # Errors
/// When the command cannot be started or does not succeed.
pub(crate) fn must_succeed(step: &str, command: &mut Command) -> Result<()> {
    announce(step);
    let status = command
        .status()
        .with_context(|| format!("{step}: cannot start {command:?}"))?;
    if !status.success() {
        bail!("{step}: {status}");
    }
    Ok(())
}

/// How one part of a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    passed: u64,
    failed: u64,
    skipped: u64,
    took: Duration,
    note: Option<String>,
}

/// The parts of a task that goes on after a failure, so that one run shows everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    parts: Vec<Part>,
}

impl Report {
    /// Runs a command that either passes or fails as a whole.
    ///
    /// # Errors
    /// When the command cannot be started; that it fails is a result, not an error.
    pub(crate) fn check(&mut self, name: &str, command: &mut Command) -> Result<bool> {
        announce(name);
        let started = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("{name}: cannot start {command:?}"))?;
        self.record(name, status.success(), started.elapsed());
        Ok(status.success())
    }

    /// Notes the outcome of a check that was made in-process.
    pub(crate) fn record(&mut self, name: &str, passed: bool, took: Duration) {
        self.parts.push(Part {
            name: name.to_owned(),
            passed: u64::from(passed),
            failed: u64::from(!passed),
            skipped: 0,
            took,
            note: None,
        });
    }

    /// Notes a check that this machine cannot make, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        announce(format_args!("{name}: skipped, {why}"));
        self.parts.push(Part {
            name: name.to_owned(),
            passed: 0,
            failed: 0,
            skipped: 1,
            took: Duration::ZERO,
            note: Some(why.to_owned()),
        });
    }

    /// Runs a `cargo test` and adds up the result lines of its test binaries.
    ///
    /// # Errors
    /// When the command cannot be started or its output cannot be read.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
        announce(name);
        let started = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name}: cannot start {command:?}"))?;
        let stdout = child
            .stdout
            .take()
            .context("the test's output was not captured")?;
        let mut counts = Counts::default();
        for line in BufReader::new(stdout).split(b'\n') {
            // A test may print anything, also what is not UTF-8.
            let line = line.with_context(|| format!("{name}: cannot read the output"))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            counts.add(&line);
        }
        let status = child
            .wait()
            .with_context(|| format!("{name}: cannot wait"))?;
        // A build error or a crash leaves no result line, and is not to be mistaken for success.
        let unaccounted = !status.success() && counts.failed == 0;
        self.parts.push(Part {
            name: name.to_owned(),
            passed: counts.passed,
            failed: counts.failed + u64::from(unaccounted),
            skipped: counts.ignored,
            took: started.elapsed(),
            note: unaccounted.then(|| format!("did not finish: {status}")),
        });
        Ok(())
    }

    /// Prints the table and, as the last line, `N passed, N failed`. True when nothing failed.
    pub(crate) fn print(&self) -> bool {
        println!("\nsummary");
        for part in &self.parts {
            let counts = format!("{} passed, {} failed", part.passed, part.failed);
            let skipped = match part.skipped {
                0 => String::new(),
                skipped => format!(", {skipped} skipped"),
            };
            let note = part
                .note
                .as_ref()
                .map_or_else(String::new, |note| format!(" ({note})"));
            println!(
                "  {:<44} {counts}{skipped} in {:.1} s{note}",
                part.name,
                part.took.as_secs_f64()
            );
        }
        let sum = |of: fn(&Part) -> u64| self.parts.iter().map(of).sum::<u64>();
        let (passed, failed) = (sum(|part| part.passed), sum(|part| part.failed));
        match sum(|part| part.skipped) {
            0 => {}
            skipped => println!("{skipped} skipped"),
        }
        println!("{passed} passed, {failed} failed");
        failed == 0
    }
}

/// The totals of `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    fn add(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result:") else {
            return;
        };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let mut counts = Counts::default();
        counts.add("running 14 tests");
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s");
        counts.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.50s");
        counts.add("a test that prints: 7 passed; 8 failed");
        assert_eq!(
            counts,
            Counts {
                passed: 14,
                failed: 1,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_test_run_that_does_not_finish_counts_as_a_failure() {
        let mut report = Report::default();
        report
            .tests(
                "crash",
                Command::new("sh").args(["-c", "echo compiling; exit 101"]),
            )
            .unwrap();
        assert_eq!((report.parts[0].passed, report.parts[0].failed), (0, 1));
        assert!(!report.print());
    }

    #[test]
    fn a_check_that_fails_does_not_end_the_report() {
        let mut report = Report::default();
        assert!(!report.check("no", &mut Command::new("false")).unwrap());
        assert!(report.check("yes", &mut Command::new("true")).unwrap());
        report.skip("other", "not installed");
        assert!(!report.print());
        assert_eq!(report.parts.len(), 3);
    }
}
