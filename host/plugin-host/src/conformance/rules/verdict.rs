//! The verdict of one rule.

use crate::conformance::report::RowStatus;
use crate::conformance::runs::RunError;

/// A row's status, and what was found.
pub(super) type Verdict = (RowStatus, String);

pub(super) fn verdict(kept: bool, found: String) -> Verdict {
    let status = if kept {
        RowStatus::Pass
    } else {
        RowStatus::Fail
    };
    (status, found)
}

/// Applies a rule to a run that has finished. For one that has not, the row `calls` says why.
pub(super) fn of_run<T>(run: &Result<T, RunError>, rule: impl Fn(&T) -> Verdict) -> Verdict {
    match run {
        Ok(run) => rule(run),
        Err(_) => (RowStatus::Skipped, "a call failed".to_owned()),
    }
}
