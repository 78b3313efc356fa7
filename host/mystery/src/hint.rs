//! The hints of a game: three, each one more help than the one before.

use serde::Serialize;

use crate::game::Game;
use crate::player::{Player, Role};
use crate::random::Random;

/// The number of hints of a game.
pub const HINTS: usize = 3;

/// The points that each hint costs, in their order.
const COSTS: [u32; HINTS] = [5, 10, 15];

/// Mixed into the seed, so that hints share no random numbers with the game.
const SALT: u64 = 0x6869_6e74;

/// A hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// Its place, 1 to 3.
    pub number: usize,
    /// The points that it costs.
    pub cost: u32,
    /// The help, one or two sentences.
    pub text: String,
}

/// The points that this many hints cost together.
pub(crate) fn cost_of(used: usize) -> u32 {
    COSTS.iter().take(used).sum()
}

/// The hints of a game: how many, then who does not leak, then one of two.
#[must_use]
pub fn hints(game: &Game) -> [Hint; HINTS] {
    let mut random = Random::at(game.order().seed, SALT);
    let mut innocent: Vec<&Player> = game
        .players()
        .iter()
        .filter(|player| player.role != Role::Leak)
        .collect();
    random.shuffle(&mut innocent);
    let [first, second, third] = [
        how_many(game),
        who_does_not_leak(game, &innocent),
        one_of_two(game, &innocent, &mut random),
    ];
    let hint = |number: usize, text| Hint {
        number,
        cost: COSTS.get(number - 1).copied().unwrap_or(0),
        text,
    };
    [hint(1, first), hint(2, second), hint(3, third)]
}

/// The numbers of leaks and decoys, and what a leak does.
fn how_many(game: &Game) -> String {
    let leaks = match game.with_role(Role::Leak).count() {
        1 => "One plugin leaks".to_owned(),
        count => format!("{count} plugins leak"),
    };
    let decoys = match game.with_role(Role::Decoy).count() {
        0 => "none only looks like a leak".to_owned(),
        1 => "one only looks like a leak".to_owned(),
        count => format!("{count} only look like leaks"),
    };
    let kinds = match game.truth().first() {
        Some(leak) => format!(" A leak of this game leaks {}.", leak.kind.description()),
        None => String::new(),
    };
    format!("{leaks}, and {decoys}.{kinds}")
}

/// Half of those that do not leak, at least one.
fn who_does_not_leak(game: &Game, innocent: &[&Player]) -> String {
    let count = innocent.len().saturating_sub(1).div_ceil(2).max(1);
    let chosen = innocent.iter().take(count);
    let mut names: Vec<&str> = chosen.map(|player| player.alias.as_str()).collect();
    names.sort_unstable();
    let verb = if names.len() == 1 { "does" } else { "do" };
    let onset = game.first_onset().as_secs_f64() / game.order().duration.as_secs_f64();
    let part = if onset < 0.25 { "first" } else { "second" };
    format!(
        "{} {verb} not leak. The first leak begins in the {part} quarter of the game.",
        names.join(" and ")
    )
}

/// A leak, and one that does not leak and that the second hint did not name.
fn one_of_two(game: &Game, innocent: &[&Player], random: &mut Random) -> String {
    let mut leaks: Vec<&Player> = game.with_role(Role::Leak).collect();
    random.shuffle(&mut leaks);
    let pair = leaks.first().into_iter().chain(innocent.last());
    let mut names: Vec<&str> = pair.map(|player| player.alias.as_str()).collect();
    names.sort_unstable();
    format!(
        "One of {} leaks, and the other one does not.",
        names.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::tests::game;

    #[test]
    fn each_hint_is_true_and_says_more() {
        for (seed, level) in (0..200).flat_map(|seed| (1..=5).map(move |level| (seed, level))) {
            let game = game(seed, level);
            let [first, second, third] = hints(&game);
            assert_eq!([first.cost, second.cost, third.cost], [5, 10, 15]);
            let named = |hint: &Hint| -> Vec<Player> {
                let (names, _) = hint.text.split_once(" leak").unwrap();
                let of_hint = |player: &&Player| names.contains(&player.alias);
                game.players().iter().filter(of_hint).cloned().collect()
            };
            assert_eq!(named(&first), []);
            let leaks = game.with_role(Role::Leak).count();
            let count = if leaks == 1 {
                "One plugin leaks"
            } else {
                "2 plugins leak"
            };
            assert!(first.text.starts_with(count), "{}", first.text);
            let cleared = named(&second);
            assert!(!cleared.is_empty());
            assert!(cleared.iter().all(|player| player.role != Role::Leak));
            let pair = named(&third);
            let leaking = pair
                .iter()
                .filter(|player| player.role == Role::Leak)
                .count();
            assert_eq!((pair.len(), leaking), (2, 1), "{}", third.text);
            assert!(
                pair.iter().all(|player| !cleared.contains(player)),
                "{}",
                third.text
            );
            assert_eq!(hints(&game), [first, second, third]);
        }
    }

    #[test]
    fn hints_add_up() {
        assert_eq!([0, 1, 2, 3, 9].map(cost_of), [0, 5, 15, 30, 30]);
    }
}
