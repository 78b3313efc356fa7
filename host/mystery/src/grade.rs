//! Grades an answer: 0 to 100 points, each part with its tolerance and an explanation.

mod names;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::answer::{Answer, Measured};
use crate::fix::Fix;
use crate::game::{Game, LeakTruth};
use crate::hint;
use crate::kind::LeakKind;
use crate::order::Visibility;
use crate::player::Role;

/// What an answer costs that is given at the end of the game. It grows evenly from the first onset.
const MAX_TIME_COST: f64 = 10.0;

/// A graded answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grade {
    /// The result, 0 to 100: the points of all parts without the two costs, rounded.
    pub score: u8,
    /// The graded parts. Their `of` add up to 100.
    pub parts: Vec<Part>,
    /// Points that hints cost.
    pub hints_cost: f64,
    /// Points that time cost, 0 to 10.
    pub time_cost: f64,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The field of the answer.
    pub name: &'static str,
    /// Points, 0 to `of`, in steps of 0.1.
    pub points: f64,
    /// Points of a right answer.
    pub of: f64,
    /// What counts as right, in words.
    pub tolerance: &'static str,
    /// What was right or wrong, and the truth, in sentences.
    pub explanation: String,
}

/// The share of its points that a part gets, 0 to 1, and the reason.
struct Mark {
    share: f64,
    explanation: String,
}

/// The fields that can be graded, with their weights, in the order of [`Grade::parts`].
const WEIGHTS: [(&str, f64); 8] = [
    ("leaking", 30.0),
    ("decoys", 10.0),
    ("location", 15.0),
    ("kind", 10.0),
    ("bytes_per_request", 10.0),
    ("started_at", 10.0),
    ("seconds_to_limit", 5.0),
    ("fix", 10.0),
];

/// The parts that an answer to this game is graded on, as far as the game decides it. A part may
/// still drop out because the host could not measure it.
#[must_use]
pub fn graded_parts(game: &Game) -> Vec<&'static str> {
    let visibility = game.visibility();
    let shows_code = matches!(visibility, Visibility::Lines | Visibility::Functions);
    let is_graded = |name: &str| match name {
        "location" => shows_code,
        "fix" => shows_code && game.truth().iter().any(|truth| !truth.fixes.is_empty()),
        "decoys" => game.with_role(Role::Decoy).next().is_some(),
        "kind" => LeakKind::possible(game.order().difficulty).len() > 1,
        _ => true,
    };
    let names = WEIGHTS.iter().map(|(name, _)| *name);
    names.filter(|name| is_graded(name)).collect()
}

/// Grades an answer.
///
/// `measured` has an entry for each leak that has begun, `used_hints` is the number of hints that
/// the player got (0 to 3), `elapsed` the time of the answer from the start of the game.
///
/// The names count from what has begun at the time of the answer: a leak or a decoy that begins
/// later is neither right nor wrong. Before the first onset nothing can be known, so an answer gets
/// no points.
#[must_use]
pub fn grade(
    game: &Game,
    measured: &[Measured],
    answer: &Answer,
    used_hints: usize,
    elapsed: Duration,
) -> Grade {
    let mut marks = if game.first_onset() <= elapsed {
        let mut marks = names::marks(game, answer, elapsed);
        marks.extend(values::best_marks(game, measured, answer, elapsed));
        marks
    } else {
        let early = |name| (name, Mark::none("No leak had begun when the answer came."));
        graded_parts(game).into_iter().map(early).collect()
    };
    let graded = graded_parts(game);
    marks.retain(|name, _| graded.contains(name));
    let parts = parts(marks, game.visibility());
    let points: f64 = parts.iter().map(|part| part.points).sum();
    let hints_cost = f64::from(hint::cost_of(used_hints));
    let time_cost = time_cost(game, elapsed);
    let score = (points - hints_cost - time_cost).round().clamp(0.0, 100.0) as u8;
    Grade {
        score,
        parts,
        hints_cost,
        time_cost,
    }
}

/// The marks with points: the weights of the parts that are graded scale to 100.
fn parts(mut marks: BTreeMap<&'static str, Mark>, visibility: Visibility) -> Vec<Part> {
    let graded = WEIGHTS.iter().filter(|(name, _)| marks.contains_key(name));
    let total: f64 = graded.map(|(_, weight)| weight).sum();
    let part = |(name, weight): &(&'static str, f64)| {
        let mark = marks.remove(name)?;
        let of = weight * 100.0 / total;
        Some(Part {
            name,
            points: tenths(of * mark.share.clamp(0.0, 1.0)),
            of: tenths(of),
            tolerance: tolerance(name, visibility),
            explanation: mark.explanation,
        })
    };
    WEIGHTS.iter().filter_map(part).collect()
}

/// The weight of a part; 0 if there is none of this name.
fn weight(name: &str) -> f64 {
    let mut weights = WEIGHTS.iter();
    weights
        .find(|(found, _)| *found == name)
        .map_or(0.0, |(_, weight)| *weight)
}

fn tenths(points: f64) -> f64 {
    (points * 10.0).round() / 10.0
}

/// Rises from 0 at the first onset to [`MAX_TIME_COST`] at the end of the game.
fn time_cost(game: &Game, elapsed: Duration) -> f64 {
    let onset = game.first_onset();
    let whole = game.order().duration.saturating_sub(onset).as_secs_f64();
    let used = elapsed.saturating_sub(onset).as_secs_f64();
    if whole <= 0.0 {
        return 0.0;
    }
    tenths(MAX_TIME_COST * (used / whole).min(1.0))
}

fn tolerance(name: &str, visibility: Visibility) -> &'static str {
    match name {
        "leaking" | "decoys" => {
            "each right name gives an equal share; each wrong name takes away at least half of one"
        }
        "location" if visibility == Visibility::Functions => "the name of the function",
        "location" => "full within 2 lines, half for another line of the file",
        "kind" => "exact",
        "bytes_per_request" => "full within 10 %, half within 30 %",
        "started_at" => {
            "full within 5 s or 5 % of the game's duration, half within 15 % of the duration"
        }
        "seconds_to_limit" => "full within 25 %, half within 50 %",
        _ => "one of the changes that stop the leak",
    }
}

impl Mark {
    fn new(share: f64, explanation: impl Into<String>) -> Self {
        Mark {
            share,
            explanation: explanation.into(),
        }
    }

    fn none(explanation: impl Into<String>) -> Self {
        Mark::new(0.0, explanation)
    }
}

/// The leaks that have begun.
fn begun(game: &Game, elapsed: Duration) -> Vec<LeakTruth> {
    let mut truth = game.truth();
    truth.retain(|leak| leak.onset <= elapsed);
    truth
}

/// `a`, `a and b`, `a, b and c`.
fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The names of these fixes.
fn fix_names(fixes: &[Fix]) -> String {
    fixes
        .iter()
        .map(|fix| fix.name())
        .collect::<Vec<_>>()
        .join(" or ")
}

#[cfg(test)]
mod tests;
