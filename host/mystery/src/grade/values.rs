//! Grades what an answer says about one leak, and about the process.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::answer::{Answer, Measured};
use crate::game::{Game, LeakTruth};
use crate::order::Visibility;
use crate::seconds::clock;

use super::{Mark, begun, fix_names, graded_parts, weight};

/// A line within this distance is right: a snapshot may name the call or its argument.
const LINE_TOLERANCE: u64 = 2;

/// An onset within this distance is right, in games of any length.
const ONSET_TOLERANCE_SECONDS: f64 = 5.0;

type PartMarks = BTreeMap<&'static str, Mark>;

/// The marks for the leak that the answer describes best, of those that have begun.
pub(super) fn best_marks(
    game: &Game,
    measured: &[Measured],
    answer: &Answer,
    elapsed: Duration,
) -> PartMarks {
    let graded = graded_parts(game);
    // The mean over the parts, because the host may have measured less of one leak.
    let mean = |marks: &PartMarks| -> f64 {
        let of_graded = marks.iter().filter(|(name, _)| graded.contains(name));
        let sums = of_graded.fold((0.0, 0.0), |(points, of), (name, mark)| {
            let weight = weight(name);
            (points + weight * mark.share, of + weight)
        });
        sums.0 / sums.1.max(1.0)
    };
    let mut best: Option<(f64, PartMarks)> = None;
    for truth in begun(game, elapsed) {
        let found = measured.iter().find(|found| found.alias == truth.alias);
        let marks = marks(game, &truth, found, answer);
        let mean = mean(&marks);
        if best.as_ref().is_none_or(|(most, _)| mean > *most) {
            best = Some((mean, marks));
        }
    }
    let mut marks = best.map(|(_, marks)| marks).unwrap_or_default();
    let mut limits = measured.iter().filter_map(|found| found.seconds_to_limit);
    if let Some(seconds) = limits.find(|seconds| seconds.is_finite() && *seconds > 0.0) {
        marks.insert(
            "seconds_to_limit",
            seconds_to_limit(answer.seconds_to_limit, seconds),
        );
    }
    marks
}

/// The marks of an answer that describes this leak.
fn marks(
    game: &Game,
    truth: &LeakTruth,
    measured: Option<&Measured>,
    answer: &Answer,
) -> PartMarks {
    let mut marks = PartMarks::new();
    marks.insert("kind", kind(truth, answer));
    marks.insert("started_at", started_at(game, truth, answer));
    if let Some(bytes) = measured.and_then(|found| found.bytes_per_request)
        && bytes.is_finite()
        && bytes > 0.0
    {
        marks.insert("bytes_per_request", bytes_per_request(truth, bytes, answer));
    }
    let location = measured.and_then(|found| location(game.visibility(), found, answer));
    marks.extend(location.map(|mark| ("location", mark)));
    if !truth.fixes.is_empty() {
        marks.insert("fix", fix(truth, answer));
    }
    marks
}

fn kind(truth: &LeakTruth, answer: &Answer) -> Mark {
    let is = format!(
        "{} leaks {}: {}.",
        truth.alias,
        truth.kind.description(),
        truth.kind.name()
    );
    match answer.kind {
        Some(kind) if kind == truth.kind => Mark::new(1.0, is),
        Some(kind) => Mark::none(format!("{is} The answer says {}.", kind.name())),
        None => Mark::none(format!("{is} The answer does not say.")),
    }
}

fn fix(truth: &LeakTruth, answer: &Answer) -> Mark {
    let is = format!("The fix of {} is {}.", truth.alias, fix_names(&truth.fixes));
    match answer.fix {
        Some(fix) if truth.fixes.contains(&fix) => Mark::new(1.0, is),
        Some(fix) => Mark::none(format!("{is} The answer says {}.", fix.name())),
        None => Mark::none(format!("{is} The answer does not say.")),
    }
}

fn started_at(game: &Game, truth: &LeakTruth, answer: &Answer) -> Mark {
    let onset = truth.onset.as_secs_f64();
    let duration = game.order().duration.as_secs_f64();
    let is = format!("{} began to leak at {}.", truth.alias, clock(onset));
    let Some(seconds) = number(answer.started_at_seconds) else {
        return Mark::none(format!("{is} The answer does not say."));
    };
    let off = (seconds - onset).abs();
    let share = if off <= ONSET_TOLERANCE_SECONDS.max(0.05 * duration) {
        1.0
    } else if off <= 0.15 * duration {
        0.5
    } else {
        0.0
    };
    let at = clock(seconds);
    Mark::new(
        share,
        format!("{is} The answer says {at}, which is {off:.0} s off."),
    )
}

fn bytes_per_request(truth: &LeakTruth, bytes: f64, answer: &Answer) -> Mark {
    let is = format!("{} retained {bytes:.0} bytes per request.", truth.alias);
    relative(&is, "bytes", answer.bytes_per_request, bytes, [0.1, 0.3])
}

fn seconds_to_limit(answer: Option<f64>, seconds: f64) -> Mark {
    let is = format!("The process would have reached its limit after {seconds:.0} more seconds.");
    relative(&is, "seconds", answer, seconds, [0.25, 0.5])
}

/// Full within the first tolerance, half within the second one; both are shares of the truth.
fn relative(is: &str, unit: &str, answer: Option<f64>, truth: f64, [full, half]: [f64; 2]) -> Mark {
    let Some(value) = number(answer) else {
        return Mark::none(format!("{is} The answer does not say."));
    };
    let off = (value - truth).abs() / truth;
    // The border counts as within, whatever the arithmetic rounds.
    let share = match off - 1e-9 {
        off if off <= full => 1.0,
        off if off <= half => 0.5,
        _ => 0.0,
    };
    let percent = off * 100.0;
    Mark::new(
        share,
        format!("{is} The answer says {value:.0} {unit}, which is {percent:.0} % off."),
    )
}

fn number(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// The mark of the location; `None` if the level or the measurement has none.
fn location(visibility: Visibility, measured: &Measured, answer: &Answer) -> Option<Mark> {
    let (right, word): (&[String], _) = match visibility {
        Visibility::Lines => (&measured.location, "line"),
        Visibility::Functions => (&measured.functions, "function"),
        _ => return None,
    };
    let first = right.first()?;
    let is = format!("The {word} that holds the memory is {first}.");
    let given = answer
        .location
        .as_deref()
        .map(str::trim)
        .unwrap_or_default();
    if given.is_empty() {
        return Some(Mark::none(format!("{is} The answer does not say.")));
    }
    let share = |right: &String| match visibility {
        Visibility::Lines => line_share(right, given),
        _ => f64::from(u8::from(function_name(right) == function_name(given))),
    };
    let share = right.iter().map(share).fold(0.0, f64::max);
    let comment = match (visibility, share) {
        (_, 1.0) => "The answer is right.",
        (Visibility::Lines, 0.5) => "The answer names another line of the same file.",
        _ => "The answer names another place.",
    };
    Some(Mark::new(share, format!("{is} {comment}")))
}

/// 1 near the line, 0.5 elsewhere in the same file, else 0.
fn line_share(right: &str, given: &str) -> f64 {
    let (right_file, right_line) = split_line(right);
    let (given_file, given_line) = split_line(given);
    if !is_same_file(right_file, given_file) {
        return 0.0;
    }
    match (right_line, given_line) {
        (Some(right), Some(given)) if right.abs_diff(given) <= LINE_TOLERANCE => 1.0,
        _ => 0.5,
    }
}

/// The file and the line of `file:line` or `file:line:column`.
fn split_line(location: &str) -> (&str, Option<u64>) {
    let mut parts = location.split(':');
    let file = parts.next().unwrap_or_default();
    (
        file.trim(),
        parts.next().and_then(|line| line.trim().parse().ok()),
    )
}

/// Whether one path is the end of the other: an answer may leave out the first folders.
fn is_same_file(left: &str, right: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        let parts = path
            .split(['/', '\\'])
            .filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let (left, right) = (parts(left), parts(right));
    let common = left.len().min(right.len());
    common > 0
        && left
            .iter()
            .rev()
            .take(common)
            .eq(right.iter().rev().take(common))
}

/// `cache::Cache::on_request()` is `on_request`.
fn function_name(path: &str) -> &str {
    let path = path.trim().trim_end_matches("()");
    path.rsplit("::").next().unwrap_or(path)
}
