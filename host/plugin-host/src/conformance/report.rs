//! The report of a check, row by row.

use std::fmt::Write;
use std::time::Duration;

/// Whether a promise was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStatus {
    /// The promise was kept.
    Pass,
    /// It was broken.
    Fail,
    /// It does not apply or cannot be measured; the row says which.
    NotApplicable,
    /// Not checked, because something before it failed.
    Skipped,
}

impl RowStatus {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            RowStatus::Pass => "pass",
            RowStatus::Fail => "fail",
            RowStatus::NotApplicable => "n/a",
            RowStatus::Skipped => "skipped",
        }
    }
}

/// One promise and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    /// Its name for programs: `clear`.
    pub check: &'static str,
    /// The promise, with its tolerance.
    pub promise: &'static str,
    /// Whether it was kept.
    pub status: RowStatus,
    /// What was measured, or why nothing was.
    pub found: String,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The plugin's id; `None` when the component could not be called.
    pub id: Option<String>,
    /// Its version; `None` when the component could not be called.
    pub version: Option<String>,
    /// SHA-256 of the component, in hex; `None` when the component could not be called.
    pub digest: Option<String>,
    /// Requests of each run.
    pub requests: u32,
    /// Duration of the check.
    pub took: Duration,
    /// One for each promise, always in the same order.
    pub rows: Vec<CheckRow>,
}

impl CheckReport {
    /// Whether no promise was broken.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.status != RowStatus::Fail)
    }

    /// The report as a table for a terminal.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let id = self.id.as_deref().unwrap_or("(no plugin)");
        let version = self.version.as_deref().unwrap_or_default();
        // A write to a string does not fail.
        let _ = writeln!(
            table,
            "{id} {version}: {} requests per run, {:.1} s",
            self.requests,
            self.took.as_secs_f64()
        );
        for row in &self.rows {
            let _ = writeln!(
                table,
                "{:<8}{:<13}{}",
                row.status.name(),
                row.check,
                row.found
            );
            if row.status == RowStatus::Fail {
                let _ = writeln!(table, "{:21}promised: {}", "", row.promise);
            }
        }
        let failed = self.rows.iter().filter(|r| r.status == RowStatus::Fail);
        let _ = match failed.count() {
            0 => writeln!(table, "conforms"),
            n => writeln!(table, "does not conform: {n} of {} fail", self.rows.len()),
        };
        table
    }
}
