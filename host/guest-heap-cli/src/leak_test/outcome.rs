//! The outcome of a test: its verdict, the growing lines, and the budgets.

use guest_heap::grouped;
use guest_heap::verdict::{Evidence, LineFloors, Verdict, rounded};

use crate::arguments::TestArguments;
use crate::handle_floors::{self, HandleFloors, LineHandles};
use crate::heap::Heap;
use crate::leak_test::calls::Calls;
use crate::leak_test::floors::Floors;
use crate::output::attribution_words;
use crate::report::has_lines;

/// With less rounds, the warm-up included, a cache that fills looks like a leak.
pub(super) const MIN_ROUNDS: u64 = 50;

/// The word for one call of everything that is tested.
const ROUND: &str = "round";

/// What a test has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TestResult {
    Passed,
    Failed,
    /// Memory has grown in too few rounds.
    Undecided,
}

/// The outcome of a test.
pub(super) struct Outcome {
    /// The calls of a round.
    pub(super) calls: Vec<String>,
    /// Requests that were not answered with a success, as sentences.
    pub(super) failures: Vec<String>,
    /// Rounds after the warm-up.
    pub(super) rounds: u64,
    /// Rounds with the warm-up.
    pub(super) all_rounds: u64,
    pub(super) verdict: Verdict,
    /// The lines that have grown, largest growth first.
    pub(super) lines: Vec<GrowingLine>,
    /// The lines that leak handles, largest growth first.
    pub(super) handles: Vec<LeakingHandles>,
    /// The most handles that were live after a round.
    pub(super) largest_handles: u64,
    /// Handles that are not counted, as clauses.
    pub(super) handle_gaps: Vec<String>,
    /// Exceeded budgets, as sentences.
    pub(super) exceeded: Vec<String>,
    /// Whether a leak is small enough for `--max-bytes-per-call`.
    is_within_budget: bool,
    /// `None` if blocks are not measured.
    pub(super) live: Option<LiveBytes>,
    pub(super) linear_bytes_per_round: f64,
    /// Bytes of linear memory at the end.
    pub(super) linear_bytes: u64,
    /// `exact`, `partial` or `off`.
    pub(super) attribution: &'static str,
    pub(super) why: Option<String>,
    /// What to do to see lines; `None` if they are there.
    pub(super) advice: Option<&'static str>,
}

/// The live bytes of all lines.
pub(super) struct LiveBytes {
    pub(super) per_round: f64,
    /// The most that were live after a round.
    pub(super) largest: u64,
}

/// A line whose floor has risen.
pub(super) struct GrowingLine {
    pub(super) location: String,
    pub(super) function: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) bytes_per_round: f64,
    pub(super) blocks_per_round: f64,
    /// Smallest live bytes of each window.
    pub(super) floors: Vec<u64>,
    pub(super) kind: Growth,
}

/// How a line grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// In every window.
    Leak,
    /// In every window, and less each time.
    Slowing,
    /// In some windows only.
    Sometimes,
}

impl Growth {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Slowing => "slowing",
            Self::Sometimes => "sometimes",
        }
    }
}

impl Outcome {
    pub(super) fn of(
        arguments: &TestArguments,
        calls: &Calls,
        floors: &Floors,
        handles: &HandleFloors,
        heap: &Heap,
    ) -> Self {
        let rounds_between = floors.rounds_between() as f64;
        let (line_floors, rounds) = (floors.lines(), floors.rounds());
        let lines = line_floors.iter();
        let lines = lines.map(|line| GrowingLine::of(line, &rounds, rounds_between));
        let lines: Vec<GrowingLine> = lines.collect();
        let line_handles = handles.leaking(&rounds);
        let evidence = Evidence {
            handles: handle_floors::growth(&line_handles),
            ..floors.evidence(&line_floors, &rounds)
        };
        let of_handles = line_handles.iter();
        let of_handles = of_handles.map(|line| LeakingHandles::of(line, rounds_between));
        let per_round = |growth: i64| growth.max(0) as f64 / rounds_between;
        let live = heap.measures_blocks().then(|| LiveBytes {
            per_round: per_round(floors.live().growth()),
            largest: floors.largest_live(),
        });
        let linear_bytes_per_round = per_round(floors.linear().growth());
        let bytes_per_round = live
            .as_ref()
            .map_or(linear_bytes_per_round, |live| live.per_round);
        let (attribution, why) = attribution_words(&heap.attribution);
        let mut exceeded = Vec::new();
        if let Some(budget) = arguments.max_bytes_per_call
            && bytes_per_round > budget as f64
        {
            exceeded.push(format!(
                "{} bytes per round are more than --max-bytes-per-call {budget}",
                rounded(bytes_per_round)
            ));
        }
        if let Some(budget) = arguments.max_live {
            match &live {
                None => exceeded.push(format!(
                    "--max-live {budget} cannot be checked: live bytes are not measured"
                )),
                Some(live) if live.largest > budget => exceeded.push(format!(
                    "{} live bytes are more than --max-live {budget}",
                    grouped(live.largest)
                )),
                Some(_) => {}
            }
        }
        if let Some(budget) = arguments.max_handles {
            if handles.largest() > budget {
                exceeded.push(format!(
                    "{} live handles are more than --max-handles {budget}",
                    grouped(handles.largest())
                ));
            }
            let counts = heap.snapshot.handle_counts();
            if !counts.are_known() {
                exceeded.push(format!(
                    "--max-handles {budget} cannot be checked: handles are not counted"
                ));
            }
        }
        let tested = u64::from(arguments.windows) * u64::from(arguments.rounds);
        Self {
            calls: calls.texts(),
            failures: calls.failures(),
            rounds: tested,
            all_rounds: tested + u64::from(arguments.warm_up),
            verdict: Verdict::of_guest(&evidence),
            handles: of_handles.collect(),
            largest_handles: handles.largest(),
            handle_gaps: heap.snapshot.handle_counts().not_counted(),
            exceeded,
            is_within_budget: arguments
                .max_bytes_per_call
                .is_some_and(|budget| bytes_per_round <= budget as f64),
            lines,
            live,
            linear_bytes_per_round,
            linear_bytes: heap.linear_memory,
            attribution,
            why: why.map(str::to_owned),
            advice: Some(heap)
                .filter(|heap| !has_lines(heap))
                .and_then(|heap| heap.snapshot.symbols().line_tables().advice()),
        }
    }

    /// An outcome without lines.
    #[cfg(test)]
    pub(super) fn for_tests(verdict: Verdict) -> Self {
        Self {
            calls: Vec::new(),
            failures: Vec::new(),
            rounds: 100,
            all_rounds: 120,
            verdict,
            lines: Vec::new(),
            handles: Vec::new(),
            largest_handles: 0,
            handle_gaps: Vec::new(),
            exceeded: Vec::new(),
            is_within_budget: false,
            live: Some(LiveBytes {
                per_round: 0.0,
                largest: 0,
            }),
            linear_bytes_per_round: 0.0,
            linear_bytes: 0,
            attribution: "exact",
            why: None,
            advice: None,
        }
    }

    /// What the test has shown.
    pub(super) fn result(&self) -> TestResult {
        let is_growth = matches!(
            self.verdict,
            Verdict::Leak { .. } | Verdict::UnseenGrowth { .. }
        );
        let accepted = self.is_within_budget && is_growth;
        if !self.exceeded.is_empty() {
            TestResult::Failed
        } else if accepted || !self.verdict.is_leak() {
            TestResult::Passed
        } else if self.all_rounds < MIN_ROUNDS {
            TestResult::Undecided
        } else {
            TestResult::Failed
        }
    }

    /// The verdict in one sentence.
    pub(super) fn sentence(&self) -> String {
        let sentence = self.verdict.sentence(self.rounds, ROUND);
        match self.result() {
            TestResult::Undecided => format!(
                "{} rounds with the warm-up are too few to tell a leak from memory that fills up \
                 once: test with at least {MIN_ROUNDS}. So far it looks like this: {sentence}",
                self.all_rounds
            ),
            _ => sentence,
        }
    }
}

/// A line and a type whose floor of handles has risen in every window.
pub(super) struct LeakingHandles {
    pub(super) location: String,
    pub(super) function: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) ty: String,
    pub(super) per_round: f64,
    /// Smallest number of live handles of each window.
    pub(super) floors: Vec<u64>,
}

impl LeakingHandles {
    fn of(line: &LineHandles, rounds: f64) -> Self {
        let site = &line.group.site;
        Self {
            location: line.group.location.to_string(),
            function: site.function.to_string(),
            file: site.file.as_ref().map(ToString::to_string),
            line: site.line,
            ty: line.group.ty.to_string(),
            per_round: line.floors.growth() as f64 / rounds,
            floors: line.floors.0.clone(),
        }
    }
}

impl GrowingLine {
    /// `rounds` were made before each window, `rounds_between` between the first and the last.
    fn of(line: &LineFloors, rounds: &[u64], rounds_between: f64) -> Self {
        let kind = match (line.bytes.rises(), line.bytes.slows(rounds)) {
            (true, false) => Growth::Leak,
            (true, true) => Growth::Slowing,
            (false, _) => Growth::Sometimes,
        };
        let per_round = |growth: i64| growth as f64 / rounds_between;
        Self {
            location: line.site.location.to_string(),
            function: line.site.function.to_string(),
            file: line.site.file.as_ref().map(ToString::to_string),
            line: line.site.line,
            bytes_per_round: per_round(line.bytes.growth()),
            blocks_per_round: per_round(line.blocks.growth()),
            floors: line.bytes.0.clone(),
            kind,
        }
    }
}
