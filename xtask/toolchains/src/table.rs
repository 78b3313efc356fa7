//! The table of outcomes.

use guest_heap::Attribution;

use crate::profile::{Comparison, Verdict};

/// Characters of a reason that the table shows.
const MAX_REASON: usize = 200;

/// What became of a row.
#[derive(Debug)]
pub(crate) enum Outcome {
    Compared(Comparison),
    /// The compiler cannot be had here.
    Skipped(String),
    /// The program does not build or run.
    Failed(String),
}

/// A program of one toolchain.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

/// Counts of outcomes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) exact: usize,
    pub(crate) honest: usize,
    pub(crate) rough: usize,
    pub(crate) wrong: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Compared(comparison) => match comparison.verdict() {
                Verdict::Exact => &mut self.exact,
                Verdict::Honest => &mut self.honest,
                Verdict::Rough => &mut self.rough,
                Verdict::FalseExact => &mut self.wrong,
            },
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Failed(_) => &mut self.failed,
        };
        *count += 1;
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
outcome      program                                       ledger        counted       unknown  how";

/// One line of the table.
pub(crate) fn line(row: &Row) -> String {
    let cells = |outcome: &str, ledger: &str, counted: &str, unknown: &str, how: &str| {
        format!(
            "{outcome:<12} {:<40} {ledger:>11} {counted:>14} {unknown:>13}  {how}",
            row.name
        )
    };
    match &row.outcome {
        Outcome::Skipped(why) => cells("skipped", "-", "-", "-", &shortened(why)),
        Outcome::Failed(why) => cells("FAILED", "-", "-", "-", &shortened(why)),
        Outcome::Compared(comparison) => {
            let outcome = match comparison.verdict() {
                Verdict::Exact => "exact",
                Verdict::Honest => match comparison.attribution {
                    Attribution::Off { .. } => "off",
                    _ => "partial",
                },
                Verdict::FalseExact => "FALSE EXACT",
                Verdict::Rough => "rough",
            };
            let how = match &comparison.attribution {
                Attribution::Exact => comparison.entry_points.join(" "),
                Attribution::Partial { why } | Attribution::Off { why } => why.clone(),
            };
            cells(
                outcome,
                &comparison.ledger.to_string(),
                &comparison.counted.to_string(),
                &comparison.unseen.to_string(),
                &shortened(&how),
            )
        }
    }
}

fn shortened(text: &str) -> String {
    let text = text.replace('\n', " ");
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
