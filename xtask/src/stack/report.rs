//! What `stack test` found, one line for each check, and the count at the end.

use std::time::Instant;

use anyhow::Result;

/// The checks made so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: u32,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    /// Makes one check. `check` answers with what it saw, in a few words; an error is a failure, and
    /// the checks after it are still made.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String>) -> bool {
        let started = Instant::now();
        let outcome = check();
        let took = started.elapsed().as_secs_f64();
        match outcome {
            Ok(seen) => {
                self.passed += 1;
                println!("  ok      {name}: {seen} ({took:.1} s)");
                true
            }
            Err(error) => {
                println!("  FAILED  {name}: {error:#} ({took:.1} s)");
                self.failed.push(name.to_owned());
                false
            }
        }
    }

    /// Notes a check that this machine cannot make, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &anyhow::Error) {
        println!("  skipped {name}: {why:#}");
        self.skipped.push(name.to_owned());
    }

    /// Prints the count. True when nothing failed.
    pub(crate) fn print(&self) -> bool {
        println!();
        if !self.skipped.is_empty() {
            println!(
                "skipped {}: {}",
                self.skipped.len(),
                self.skipped.join("; ")
            );
        }
        if !self.failed.is_empty() {
            println!("failed {}: {}", self.failed.len(), self.failed.join("; "));
        }
        println!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        );
        self.failed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn one_failure_fails_the_whole_and_a_skip_does_not() {
        let mut report = Report::default();
        assert!(report.check("good", || Ok("seen".to_owned())));
        report.skip("away", &anyhow::anyhow!("no such program"));
        assert!(report.print());
        assert!(!report.check("bad", || bail!("broken")));
        assert!(!report.print());
    }
}
