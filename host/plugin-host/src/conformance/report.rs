//! What a check found, row by row.

use std::fmt::Write;
use std::time::Duration;

use super::{Terms, rules};
use crate::error::PluginError;

/// How a promise was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was.
    Pass,
    /// It was not.
    Fail,
    /// There is nothing to be kept, or nothing that could be measured; the row says which.
    NotApplicable,
    /// Not looked at, since something before it failed.
    Skipped,
}

impl Status {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::NotApplicable => "n/a",
            Status::Skipped => "skipped",
        }
    }
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name for programs: `clear`.
    pub check: &'static str,
    /// What is promised, with its tolerance.
    pub promise: &'static str,
    /// How it was kept.
    pub status: Status,
    /// What was measured, or why not.
    pub found: String,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The plugin's id, if it got so far as to say it.
    pub id: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// SHA-256 of the component, in hex.
    pub digest: Option<String>,
    /// Requests of each run.
    pub requests: u32,
    /// Time that the check took.
    pub took: Duration,
    /// One for each promise.
    pub rows: Vec<Row>,
}

impl Report {
    /// The report on a component that cannot be called at all.
    pub(crate) fn refused(terms: Terms, error: &PluginError, took: Duration) -> Self {
        Report {
            id: None,
            version: None,
            digest: None,
            requests: terms.requests,
            took,
            rows: rules::refused(error),
        }
    }

    /// Whether no promise was broken.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.status != Status::Fail)
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let id = self.id.as_deref().unwrap_or("(no plugin)");
        let version = self.version.as_deref().unwrap_or_default();
        // Writing into a string does not fail.
        let _ = writeln!(
            table,
            "{id} {version}: {} requests a run, {:.1} s",
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
            if row.status == Status::Fail {
                let _ = writeln!(table, "{:21}promised: {}", "", row.promise);
            }
        }
        let failed = self.rows.iter().filter(|r| r.status == Status::Fail);
        let _ = match failed.count() {
            0 => writeln!(table, "conforms"),
            n => writeln!(table, "does not conform: {n} of {} fail", self.rows.len()),
        };
        table
    }
}
