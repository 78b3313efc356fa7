//! The rules of a check, one for each row of the report.

mod component;
mod heap;
mod verdict;

use std::time::Duration;

use guest_heap::Attribution;

use crate::conformance::report::{CheckRow, RowStatus};
use crate::conformance::rules::verdict::{Verdict, of_run};
use crate::conformance::runs::Observations;
use crate::error::PluginError;
use crate::load::loader::CompiledComponent;
use crate::load::manifest::Manifest;

/// What the rules judge.
pub(crate) struct Evidence<'a> {
    pub(crate) component: &'a CompiledComponent,
    pub(crate) manifest: &'a Manifest,
    pub(crate) observations: &'a Observations,
    /// The deadline of one call.
    pub(crate) deadline: Duration,
}

impl Evidence<'_> {
    /// How precisely the heap was profiled in all runs.
    fn attribution(&self) -> Attribution {
        let meta = &self.component.meta;
        let mut attributions = self.observations.coverages().map(|c| c.attribution(meta));
        let not_exact = attributions.find(|attribution| *attribution != Attribution::Exact);
        not_exact.unwrap_or_else(|| meta.attribution().clone())
    }
}

/// One promise of the contract.
struct Rule {
    /// Its name for programs.
    check: &'static str,
    promise: &'static str,
    /// Whether it needs live bytes, which only an instrumented component has.
    needs_heap: bool,
    judge: fn(&Evidence) -> Verdict,
}

/// The rule that a component breaks when it cannot be called at all.
const CONTRACT: &str = "contract";

/// In the order of the report.
const RULES: [Rule; 10] = [
    Rule {
        check: CONTRACT,
        promise: "fits leak-lab:plugin@0.1.0, starts, and describes itself the same way each time",
        needs_heap: false,
        judge: |e| component::contract(&e.attribution(), e.component, e.manifest),
    },
    Rule {
        check: "imports",
        promise: "imports only logging and what a language runtime needs: no files, no network",
        needs_heap: false,
        judge: |e| component::imports(&e.component.source.imports),
    },
    Rule {
        check: "calls",
        promise: "each call returns within its deadline, without a trap and without an error",
        needs_heap: false,
        judge: |e| component::calls(e.observations, e.deadline),
    },
    Rule {
        check: "retained",
        promise: "the bytes that it reports as retained are live, within 5 % and 4 KiB, \
                  after each request",
        needs_heap: true,
        judge: |e| of_run(&e.observations.leaky, |run| heap::retained(run, e.manifest)),
    },
    Rule {
        check: "counts",
        promise: "on-request, retained and clear agree; after a clear nothing is retained; \
                  no more objects than requests and live blocks",
        needs_heap: false,
        judge: |e| of_run(&e.observations.leaky, heap::counts),
    },
    Rule {
        check: "disabled",
        promise: "the live heap does not grow without requests, within 1 KiB",
        needs_heap: true,
        judge: |e| of_run(&e.observations.idle, heap::disabled),
    },
    Rule {
        check: "fixed",
        promise: "the peak of the fixed variant does not rise after an hour of requests, \
                  within 2 % and 4 KiB",
        needs_heap: true,
        judge: |e| of_run(&e.observations.fixed, heap::fixed),
    },
    Rule {
        check: "clear",
        promise: "a clear returns the live bytes to their level before the requests, \
                  within 2 % of what was cleared and 4 KiB",
        needs_heap: true,
        judge: |e| of_run(&e.observations.leaky, heap::clear),
    },
    Rule {
        check: "source",
        promise: "the line that grew most is in the plugin's own source",
        needs_heap: true,
        judge: |e| of_run(&e.observations.leaky, heap::source),
    },
    Rule {
        check: "determinism",
        promise: "two instances that get the same requests retain the same bytes \
                  and have the same live heap",
        needs_heap: false,
        judge: |e| component::determinism(e.observations),
    },
];

impl Rule {
    fn row(&self, (status, found): Verdict) -> CheckRow {
        CheckRow {
            check: self.check,
            promise: self.promise,
            status,
            found,
        }
    }
}

/// The rows of a component that cannot be called.
pub(crate) fn refused(error: &PluginError) -> Vec<CheckRow> {
    let row = |rule: &Rule| {
        rule.row(match rule.check {
            CONTRACT => (RowStatus::Fail, error.to_string()),
            _ => (RowStatus::Skipped, "it cannot be called".to_owned()),
        })
    };
    RULES.iter().map(row).collect()
}

/// The rows of a component that was driven through its runs.
pub(crate) fn judge(evidence: &Evidence) -> Vec<CheckRow> {
    let attribution = evidence.attribution();
    let row = |rule: &Rule| {
        rule.row(if rule.needs_heap {
            judge_heap(&attribution, || (rule.judge)(evidence))
        } else {
            (rule.judge)(evidence)
        })
    };
    RULES.iter().map(row).collect()
}

/// The verdict of a rule that compares with the heap tables. If they are not exact, they cannot
/// prove that the plugin broke its promise.
fn judge_heap(attribution: &Attribution, judge: impl FnOnce() -> Verdict) -> Verdict {
    match attribution {
        Attribution::Exact => judge(),
        Attribution::Off { why } => (
            RowStatus::NotApplicable,
            format!("its heap is not profiled: {why}"),
        ),
        Attribution::Partial { why } => match judge() {
            (RowStatus::Fail, found) => (
                RowStatus::NotApplicable,
                format!("its heap is profiled only in part: {why}; the part shows: {found}"),
            ),
            verdict => verdict,
        },
    }
}

#[cfg(test)]
mod tests;
