//! Grades the names: which plugins leak, and which ones only look like a leak.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::answer::Answer;
use crate::game::Game;
use crate::player::Role;

use super::{Mark, list};

/// The marks of `leaking`, and of `decoys` if a decoy has begun.
pub(super) fn marks(
    game: &Game,
    answer: &Answer,
    elapsed: Duration,
) -> BTreeMap<&'static str, Mark> {
    let names = answer.names();
    let leaking = mark(game, Role::Leak, &names.leaking, &names.decoys, elapsed);
    let decoys = mark(game, Role::Decoy, &names.decoys, &names.leaking, elapsed);
    let marks = [("leaking", leaking), ("decoys", decoys)];
    marks
        .into_iter()
        .filter_map(|(name, mark)| Some((name, mark?)))
        .collect()
}

/// The mark of one list. A name that is in the `other` list, too, is wrong in both. `None` if no
/// player of this role has begun.
fn mark(
    game: &Game,
    role: Role,
    named: &BTreeSet<String>,
    other: &BTreeSet<String>,
    elapsed: Duration,
) -> Option<Mark> {
    let all: BTreeSet<&str> = game
        .with_role(role)
        .map(|player| player.alias.as_str())
        .collect();
    let begun = game
        .with_role(role)
        .filter(|player| player.has_begun(elapsed));
    let truth: BTreeSet<&str> = begun.map(|player| player.alias.as_str()).collect();
    if truth.is_empty() {
        return None;
    }
    let is_right = |name: &str| truth.contains(name) && !other.contains(name);
    let right = named.iter().filter(|name| is_right(name)).count();
    // A leak that begins later is neither right nor wrong.
    let later = |name: &str| all.contains(name) && !truth.contains(name);
    let wrong: Vec<&str> = named
        .iter()
        .map(String::as_str)
        .filter(|name| !is_right(name) && !later(name))
        .collect();
    let others = game.players().len().saturating_sub(truth.len()).max(1) as f64;
    let count = truth.len() as f64;
    // To name all players gives nothing: the others together cost as much as the right ones give.
    let cost_of_one = (1.0 / others).max(0.5 / count);
    let share = right as f64 / count - wrong.len() as f64 * cost_of_one;
    let truth = list(truth);
    let mut explanation = match role {
        Role::Leak => format!("The plugins that leak: {truth}."),
        _ => format!("The plugins that only look like a leak: {truth}."),
    };
    if named.is_empty() {
        explanation.push_str(" The answer names none.");
    } else if !wrong.is_empty() {
        explanation.push_str(&format!(" Wrong in the answer: {}.", list(wrong)));
    } else if right < count as usize {
        explanation.push_str(" The answer names not all of them.");
    } else {
        explanation.push_str(" The answer is right.");
    }
    Some(Mark::new(share.max(0.0), explanation))
}
