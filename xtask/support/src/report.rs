//! What a person sees while a command of several minutes runs: which step, how long it took, and at
//! the end a summary whose last line a program can read.

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Announces a step on stderr, where cargo's own progress goes.
pub fn announce(step: impl Display) {
    eprintln!("\n==> {step}");
}

/// Runs one command to its end and shows its output as it comes.
///
/// # Errors
/// When the command cannot be started or does not succeed.
pub fn must_succeed(step: &str, command: &mut Command) -> Result<()> {
    announce(step);
    let status = command
        .status()
        .with_context(|| format!("{step}: cannot start {command:?}"))?;
    if !status.success() {
        bail!("{step}: {status}");
    }
    Ok(())
}

/// The outcome of one step.
#[derive(Debug)]
struct Entry {
    name: String,
    counts: Counts,
    took: Duration,
    note: Option<String>,
}

/// The steps of a command that continues after a failure, so that one run shows everything that is
/// wrong.
#[derive(Debug, Default)]
pub struct Report {
    entries: Vec<Entry>,
}

impl Report {
    /// Runs a command that passes or fails as a whole. True when it passes.
    ///
    /// # Errors
    /// When the command cannot be started; a failure of the command is a result, not an error.
    pub fn run(&mut self, name: &str, command: &mut Command) -> Result<bool> {
        announce(name);
        let started = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("{name}: cannot start {command:?}"))?;
        self.add(name, Counts::of(status.success()), started.elapsed(), None);
        Ok(status.success())
    }

    /// Makes a check in this process. It returns what it saw in a few words; an error is a failure.
    /// True when it passes.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String>) -> bool {
        let started = Instant::now();
        let outcome = check();
        let took = started.elapsed();
        let seconds = took.as_secs_f64();
        let note = match &outcome {
            Ok(seen) => {
                println!("  ok      {name}: {seen} ({seconds:.1} s)");
                None
            }
            Err(error) => {
                println!("  FAILED  {name}: {error:#} ({seconds:.1} s)");
                Some("see above".to_owned())
            }
        };
        self.add(name, Counts::of(outcome.is_ok()), took, note);
        outcome.is_ok()
    }

    /// Notes a check that this machine cannot make, and why.
    pub fn skip(&mut self, name: &str, reason: impl Display) {
        println!("  skipped {name}: {reason}");
        let counts = Counts {
            skipped: 1,
            ..Counts::default()
        };
        let reason = reason.to_string();
        let short = reason.lines().next().unwrap_or_default().to_owned();
        self.add(name, counts, Duration::ZERO, Some(short));
    }

    /// Runs a `cargo test` and adds up the result lines of its test binaries.
    ///
    /// # Errors
    /// When the command cannot be started or its output cannot be read.
    pub fn tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
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
            counts.add_result_line(&line);
        }
        let status = child
            .wait()
            .with_context(|| format!("{name}: cannot wait"))?;
        // A build error or a crash prints no result line and is a failure all the same.
        let unfinished = !status.success() && counts.failed == 0;
        counts.failed += u64::from(unfinished);
        let note = unfinished.then(|| format!("did not finish: {status}"));
        self.add(name, counts, started.elapsed(), note);
        Ok(())
    }

    fn add(&mut self, name: &str, counts: Counts, took: Duration, note: Option<String>) {
        self.entries.push(Entry {
            name: name.to_owned(),
            counts,
            took,
            note,
        });
    }

    /// The checks that have failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.totals().failed
    }

    /// As [`Report::finish`], for a program that another one runs as [`Report::tests`]: the last
    /// line is that of a test binary.
    #[must_use]
    pub fn finish_as_tests(&self) -> ExitCode {
        let code = self.finish();
        let Counts {
            passed,
            failed,
            skipped,
        } = self.totals();
        let result = if failed == 0 { "ok" } else { "FAILED" };
        println!("test result: {result}. {passed} passed; {failed} failed; {skipped} ignored");
        code
    }

    fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for Entry { counts, .. } in &self.entries {
            totals.passed += counts.passed;
            totals.failed += counts.failed;
            totals.skipped += counts.skipped;
        }
        totals
    }

    /// Prints the summary and, as the last line, the totals. Exit code 1 when something failed.
    #[must_use]
    pub fn finish(&self) -> ExitCode {
        println!("\nsummary");
        for Entry {
            name,
            counts,
            took,
            note,
        } in &self.entries
        {
            let seconds = took.as_secs_f64();
            let note = note
                .as_ref()
                .map_or_else(String::new, |n| format!(" ({n})"));
            println!("  {name:<44} {} in {seconds:.1} s{note}", counts.line());
        }
        let totals = self.totals();
        println!("{}", totals.line());
        ExitCode::from(u8::from(totals.failed > 0))
    }
}

/// How many checks or tests had which outcome.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    fn of(passed: bool) -> Self {
        Self {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            skipped: 0,
        }
    }

    fn line(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }

    /// Adds a line `test result: …` of libtest. Other lines count nothing.
    fn add_result_line(&mut self, line: &str) {
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
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn result_lines_of_test_binaries_are_added_up() {
        let mut total = Counts::default();
        for line in [
            "running 14 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.50s",
            "a test that prints: 7 passed; 8 failed",
        ] {
            total.add_result_line(line);
        }
        assert_eq!(total, counts(14, 1, 1));
        assert_eq!(total.line(), "14 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_test_run_that_does_not_finish_is_a_failure() {
        let mut report = Report::default();
        let mut command = Command::new("sh");
        command.args(["-c", "echo compiling; exit 101"]);
        report.tests("crash", &mut command).unwrap();
        assert_eq!(report.totals(), counts(0, 1, 0));
    }

    #[test]
    fn a_failure_does_not_end_the_report_and_a_skip_is_no_failure() {
        let mut report = Report::default();
        assert!(report.run("yes", &mut Command::new("true")).unwrap());
        assert!(report.check("good", || Ok("seen".to_owned())));
        report.skip("other", "not installed");
        assert_eq!(report.finish(), ExitCode::SUCCESS);
        assert!(!report.run("no", &mut Command::new("false")).unwrap());
        assert!(!report.check("bad", || bail!("broken")));
        assert_eq!(report.totals(), counts(2, 2, 1));
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }
}
