//! The baseline plays 50 games of each level against a simulated host.

mod simulation;

use super::*;
use crate::Difficulty;
use crate::game::tests::game;
use crate::grade::grade;

use simulation::Simulation;

/// Plays a game and returns the score.
fn play(seed: u64, level: u8) -> u8 {
    let game = game(seed, level);
    let aliases = game
        .players()
        .iter()
        .map(|player| player.alias.clone())
        .collect();
    let mut agent = Baseline::new(aliases, game.order().duration);
    let mut host = Simulation::new(&game);
    let mut elapsed = Duration::ZERO;
    loop {
        host.run_until(elapsed);
        match agent.next(&host.view(elapsed)) {
            Move::Wait(time) => elapsed += time,
            Move::Submit(answer) => {
                assert!(elapsed < game.order().duration);
                return grade(&game, &host.measured(elapsed), &answer, 0, elapsed).score;
            }
        }
    }
}

/// The scores by level: mean, and the lowest one. Run with `--nocapture` to see them.
#[test]
fn the_baseline_plays_50_seeds_of_each_level() {
    let mut means = Vec::new();
    for level in Difficulty::ALL.map(Difficulty::level) {
        let scores: Vec<u8> = (0..50).map(|seed| play(seed, level)).collect();
        let mean = scores.iter().map(|score| f64::from(*score)).sum::<f64>() / 50.0;
        let lowest = scores.iter().min().unwrap();
        println!("level {level}: mean {mean:.0}, lowest {lowest}, {scores:?}");
        assert_eq!(play(7, level), scores[7], "a game is not the same twice");
        means.push(mean);
    }
    // Far more than chance, and harder levels are harder.
    assert!(means.iter().all(|mean| *mean > 45.0), "{means:?}");
    assert!(means[0] > means[4], "{means:?}");
}
