//! The table of outcomes.

use guest_heap::Attribution;

use crate::profile::{Comparison, Verdict};

/// Characters of a reason that the table shows.
const MAX_REASON: usize = 200;

/// What became of a row.
#[derive(Debug)]
pub(crate) enum Outcome {
    Compared(Comparison),
    /// The compiler is not available here.
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
    pub(crate) close: usize,
    pub(crate) bounded: usize,
    pub(crate) off: usize,
    pub(crate) wrong: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Compared(comparison) => match comparison.verdict() {
                Verdict::Exact => &mut self.exact,
                Verdict::Close => &mut self.close,
                Verdict::Bounded => &mut self.bounded,
                Verdict::Off => &mut self.off,
                Verdict::FalseExact | Verdict::FalseRange => &mut self.wrong,
            },
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Failed(_) => &mut self.failed,
        };
        *count += 1;
    }
}

/// The head of the table. `at least` and `at most` are what the profiler says of all live bytes.
pub(crate) const HEAD: &str = "\
outcome      program                                       ledger        counted     at least      at most       growth  how";

/// One line of the table.
pub(crate) fn line(row: &Row) -> String {
    let cells = |outcome: &str, [ledger, counted, least, most, growth]: [&str; 5], how: &str| {
        format!(
            "{outcome:<12} {:<40} {ledger:>11} {counted:>14} {least:>12} {most:>12} {growth:>12}  {how}",
            row.name
        )
    };
    let comparison = match &row.outcome {
        Outcome::Skipped(why) => return cells("skipped", ["-"; 5], &shortened(why)),
        Outcome::Failed(why) => return cells("FAILED", ["-"; 5], &shortened(why)),
        Outcome::Compared(comparison) => comparison,
    };
    let outcome = match comparison.verdict() {
        Verdict::Exact => "exact",
        Verdict::Close => "close",
        Verdict::Bounded => "bounded",
        Verdict::Off => "off",
        Verdict::FalseExact => "FALSE EXACT",
        Verdict::FalseRange => "FALSE RANGE",
    };
    let reason = match &comparison.attribution {
        Attribution::Exact => comparison.entry_points.join(" "),
        Attribution::Partial { why } | Attribution::Off { why } => why.clone(),
    };
    let how = match comparison.fault() {
        Some(fault) => format!("{fault}; {reason}"),
        None => reason,
    };
    let most = comparison.range.at_most;
    cells(
        outcome,
        [
            &comparison.ledger.to_string(),
            &comparison.counted.to_string(),
            &comparison.range.at_least.to_string(),
            &most.map_or_else(|| "-".to_owned(), |most| most.to_string()),
            &comparison.growth.to_string(),
        ],
        &shortened(&how),
    )
}

fn shortened(text: &str) -> String {
    let text = text.replace('\n', " ");
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
