//! The report of a test in the formats that people and CI systems read.

use guest_heap::grouped;
use guest_heap::verdict::rounded;
use serde::Serialize;

use crate::arguments::Format;
use crate::leak_test::outcome::{GrowingLine, Growth, LeakingHandles, Outcome, TestResult};
use crate::report::place;

/// Growing lines that a report for people shows.
const MAX_LINES: usize = 20;

/// The report of a test, with a newline at its end.
pub(super) fn report(format: Format, outcome: &Outcome) -> String {
    match format {
        Format::Human => human(outcome),
        Format::Json => json(outcome),
        Format::Junit => junit(outcome),
        Format::Github => github(outcome),
    }
}

fn human(outcome: &Outcome) -> String {
    let mut text = format!(
        "{}: {}\n",
        match outcome.result() {
            TestResult::Passed => "passed",
            TestResult::Failed => "FAILED",
            TestResult::Undecided => "undecided",
        },
        outcome.sentence()
    );
    for exceeded in &outcome.exceeded {
        text.push_str(&format!("FAILED: {exceeded}\n"));
    }
    let shown: Vec<&GrowingLine> = outcome.lines.iter().take(MAX_LINES).collect();
    if !shown.is_empty() {
        text.push_str(&format!(
            "{:>14} {:>12}  {:<9} line\n",
            "bytes/round", "blocks/round", "growth"
        ));
    }
    for line in shown {
        text.push_str(&format!(
            "{:>14} {:>12.2}  {:<9} {}\n",
            rounded(line.bytes_per_round),
            line.blocks_per_round,
            line.kind.name(),
            line.place()
        ));
    }
    let hidden = outcome.lines.len().saturating_sub(MAX_LINES);
    if hidden > 0 {
        text.push_str(&format!("{hidden} more lines have grown\n"));
    }
    for line in outcome.handles.iter().take(MAX_LINES) {
        text.push_str(&format!("handles: {}\n", line.sentence()));
    }
    if outcome.largest_handles > 0 {
        let largest = grouped(outcome.largest_handles);
        text.push_str(&format!("live handles: at most {largest} after a round\n"));
    }
    let live = match &outcome.live {
        Some(live) => format!(
            "live: at most {} bytes after a round, growing by {} bytes per round",
            grouped(live.largest),
            rounded(live.per_round),
        ),
        None => format!(
            "live: not measured; linear memory: {} bytes, growing by {} bytes per round",
            grouped(outcome.linear_bytes),
            rounded(outcome.linear_bytes_per_round),
        ),
    };
    text.push_str(&format!("{live}; attribution: {}\n", outcome.attribution));
    for note in outcome.notes() {
        text.push_str(&format!("note: {note}\n"));
    }
    for gap in &outcome.handle_gaps {
        text.push_str(&format!("note: not counted: {gap}\n"));
    }
    text
}

#[derive(Serialize)]
struct Document<'a> {
    passed: bool,
    /// Whether memory has grown in too few rounds to tell a leak from a cache that fills.
    undecided: bool,
    verdict: &'static str,
    sentence: String,
    exceeded_budgets: &'a [String],
    calls: &'a [String],
    /// Requests that were not answered with a success.
    failed_requests: &'a [String],
    rounds: u64,
    /// `null` if live bytes are not measured.
    bytes_per_round: Option<f64>,
    largest_live_bytes: Option<u64>,
    linear_memory_bytes_per_round: f64,
    linear_memory_bytes: u64,
    attribution: &'static str,
    why: Option<&'a str>,
    lines: Vec<Line<'a>>,
    handles: Vec<HandleLine<'a>>,
    largest_live_handles: u64,
    handles_not_counted: &'a [String],
}

#[derive(Serialize)]
struct HandleLine<'a> {
    location: &'a str,
    function: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    handles_per_round: f64,
    /// Smallest number of live handles of each window.
    floors: &'a [u64],
}

#[derive(Serialize)]
struct Line<'a> {
    location: &'a str,
    function: &'a str,
    growth: &'static str,
    bytes_per_round: f64,
    blocks_per_round: f64,
    /// Smallest live bytes of each window.
    floors: &'a [u64],
}

fn json(outcome: &Outcome) -> String {
    let lines = outcome.lines.iter().map(|line| Line {
        location: &line.location,
        function: &line.function,
        growth: line.kind.name(),
        bytes_per_round: line.bytes_per_round,
        blocks_per_round: line.blocks_per_round,
        floors: &line.floors,
    });
    let handles = outcome.handles.iter().map(|line| HandleLine {
        location: &line.location,
        function: &line.function,
        ty: &line.ty,
        handles_per_round: line.per_round,
        floors: &line.floors,
    });
    let document = Document {
        passed: outcome.result() == TestResult::Passed,
        undecided: outcome.result() == TestResult::Undecided,
        verdict: outcome.verdict.name(),
        sentence: outcome.sentence(),
        exceeded_budgets: &outcome.exceeded,
        calls: &outcome.calls,
        failed_requests: &outcome.failures,
        rounds: outcome.rounds,
        bytes_per_round: outcome.live.as_ref().map(|live| live.per_round),
        largest_live_bytes: outcome.live.as_ref().map(|live| live.largest),
        linear_memory_bytes_per_round: outcome.linear_bytes_per_round,
        linear_memory_bytes: outcome.linear_bytes,
        attribution: outcome.attribution,
        why: outcome.why.as_deref(),
        lines: lines.collect(),
        handles: handles.collect(),
        largest_live_handles: outcome.largest_handles,
        handles_not_counted: &outcome.handle_gaps,
    };
    // A document of texts and finite numbers is always serialisable.
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    format!("{text}\n")
}

fn junit(outcome: &Outcome) -> String {
    let name = escape_xml(&outcome.calls.join(", "));
    let fails = outcome.result() != TestResult::Passed;
    let failures = usize::from(fails);
    let body = if fails {
        let message = escape_xml(&outcome.failure());
        let lines = outcome.leaking().map(GrowingLine::sentence);
        let handles = outcome.handles.iter().map(LeakingHandles::sentence);
        let lines: Vec<String> = lines.chain(handles).collect();
        let lines = escape_xml(&lines.join("\n"));
        format!("\n      <failure message=\"{message}\">{lines}</failure>\n    ")
    } else {
        String::new()
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites tests=\"1\" failures=\"{failures}\">\n\
         \x20 <testsuite name=\"guest-heap\" tests=\"1\" failures=\"{failures}\">\n\
         \x20   <testcase classname=\"guest-heap\" name=\"{name}\">{body}</testcase>\n\
         \x20 </testsuite>\n\
         </testsuites>\n"
    )
}

fn github(outcome: &Outcome) -> String {
    if outcome.result() == TestResult::Passed {
        let sentence = escape_github(&outcome.sentence());
        return format!("::notice title=guest-heap::{sentence}\n");
    }
    let mut text = String::new();
    let lines = outcome.leaking();
    let lines = lines.map(|line| (&line.file, line.line, line.sentence()));
    let handles = outcome.handles.iter();
    let handles = handles.map(|line| (&line.file, line.line, line.sentence()));
    for (file, line, sentence) in lines.chain(handles) {
        let place = match (file, line) {
            (Some(file), Some(number)) => {
                format!("file={},line={number},", escape_github_property(file))
            }
            _ => String::new(),
        };
        text.push_str(&format!(
            "::error {place}title=guest-heap::{}\n",
            escape_github(&sentence)
        ));
    }
    text.push_str(&format!(
        "::error title=guest-heap::{}\n",
        escape_github(&outcome.failure())
    ));
    text
}

impl Outcome {
    fn leaking(&self) -> impl Iterator<Item = &GrowingLine> {
        self.lines.iter().filter(|line| line.kind == Growth::Leak)
    }

    /// Why the test fails, in one line.
    fn failure(&self) -> String {
        let mut sentences = Vec::new();
        if self.verdict.is_leak() {
            sentences.push(self.sentence());
        }
        sentences.extend(self.exceeded.iter().cloned());
        sentences.join("; ")
    }

    fn notes(&self) -> impl Iterator<Item = &str> {
        let failures = self.failures.iter().map(String::as_str);
        failures.chain(self.why.as_deref()).chain(self.advice)
    }
}

impl LeakingHandles {
    fn sentence(&self) -> String {
        format!(
            "{} keeps {} handles of type {} per round",
            place(&self.location, &self.function, self.line.is_some()),
            rounded(self.per_round),
            self.ty
        )
    }
}

impl GrowingLine {
    fn place(&self) -> String {
        place(&self.location, &self.function, self.line.is_some())
    }

    fn sentence(&self) -> String {
        format!(
            "{} grows by {} bytes in {:.2} blocks per round",
            self.place(),
            rounded(self.bytes_per_round),
            self.blocks_per_round
        )
    }
}

/// Escapes text for XML. Characters that XML does not allow are left out.
fn escape_xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => {}
            '\u{FFFE}' | '\u{FFFF}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Escapes the message of a GitHub annotation, so that a guest's names cannot add commands.
fn escape_github(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn escape_github_property(text: &str) -> String {
    escape_github(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use guest_heap::verdict::Verdict;

    use super::*;

    fn outcome() -> Outcome {
        let mut outcome = Outcome::for_tests(Verdict::Leak {
            lines: 1,
            bytes_per_call: 64.0,
        });
        outcome.calls = vec!["put(\"<a>\")".to_owned()];
        outcome.lines = vec![GrowingLine {
            location: "src/a,b.rs:13".to_owned(),
            function: "keep<u8>\n::error::".to_owned(),
            file: Some("src/a,b.rs".to_owned()),
            line: Some(13),
            bytes_per_round: 64.0,
            blocks_per_round: 1.0,
            floors: vec![64, 128, 192],
            kind: Growth::Leak,
        }];
        outcome
    }

    #[test]
    fn github_annotations_cannot_be_extended_by_names() {
        let text = report(Format::Github, &outcome());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with(
                "::error file=src/a%2Cb.rs,line=13,title=guest-heap::src/a,b.rs:13 in keep<u8>%0A"
            ),
            "{text}"
        );
    }

    #[test]
    fn junit_is_escaped() {
        let text = report(Format::Junit, &outcome());
        assert!(
            text.contains("name=\"put(&quot;&lt;a&gt;&quot;)\""),
            "{text}"
        );
        assert!(text.contains("keep&lt;u8&gt;"), "{text}");
        assert!(text.contains("failures=\"1\""), "{text}");
    }

    #[test]
    fn json_has_the_verdict_and_the_floors() {
        let text = report(Format::Json, &outcome());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["verdict"], "leak");
        assert_eq!(value["passed"], false);
        assert_eq!(value["lines"][0]["floors"][2], 192);
    }

    #[test]
    fn growth_in_too_few_rounds_is_undecided() {
        let mut outcome = outcome();
        outcome.all_rounds = 49;
        let text = report(Format::Human, &outcome);
        let start = "undecided: 49 rounds with the warm-up are too few to tell a leak from";
        assert!(text.starts_with(start), "{text}");
        let json = report(Format::Json, &outcome);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["passed"], &json["undecided"]),
            (&false.into(), &true.into())
        );
        assert!(report(Format::Junit, &outcome).contains("failures=\"1\""));
        assert!(report(Format::Github, &outcome).contains("too few to tell"));
        outcome.all_rounds = 50;
        assert!(report(Format::Human, &outcome).starts_with("FAILED: "));
    }

    #[test]
    fn a_passed_test_is_a_notice() {
        let passed = Outcome::for_tests(Verdict::NoLeak);
        assert_eq!(
            report(Format::Github, &passed),
            "::notice title=guest-heap::no leak in 100 rounds\n"
        );
        assert!(report(Format::Human, &passed).starts_with("passed: no leak in 100 rounds\n"));
        assert!(report(Format::Junit, &passed).contains("failures=\"0\""));
    }
}
