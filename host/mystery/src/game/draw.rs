//! Draws the players, the times and the traffic of a game from its seed.
//!
//! The order of the draws is part of the game: a draw that is added or moved changes the games of
//! all seeds. New draws go to the end.

use std::time::Duration;

use crate::events::{Action, Event};
use crate::order::Order;
use crate::player::{Player, Role};
use crate::random::Random;
use crate::traffic::{self, TrafficPhase};

use super::leaks::{self, PlayTime};
use super::{Candidate, Game, GameError, MAX_REQUESTS};

/// The level with a deploy, a change of the load and a late decoy.
const HARDEST: u8 = 5;

/// The roles of one game.
struct Cast<'a> {
    leaks: Vec<&'a str>,
    decoys: Vec<&'a str>,
    bystanders: Vec<&'a str>,
}

/// The game of this order. The ids of the candidates differ.
pub(super) fn game(order: Order, roster: &[Candidate]) -> Result<Game, GameError> {
    let mut random = Random::new(order.seed);
    let cast = cast(&order, roster, &mut random)?;
    let traffic = traffic(&order, &mut random);
    let mut players = players(&order, &cast, &traffic, &mut random);
    random.shuffle(&mut players);
    for (player, letter) in players.iter_mut().zip('a'..) {
        player.alias = format!("plugin-{letter}");
    }
    let events = events(&order, &players, &mut random);
    Ok(Game {
        order,
        players,
        events,
        traffic,
    })
}

fn cast<'a>(
    order: &Order,
    roster: &'a [Candidate],
    random: &mut Random,
) -> Result<Cast<'a>, GameError> {
    let difficulty = order.difficulty.level();
    let sorted = |is_decoy: bool| {
        let candidates = roster.iter().filter(|found| found.is_decoy == is_decoy);
        let mut ids: Vec<&str> = candidates.map(|found| found.id.as_str()).collect();
        ids.sort_unstable();
        ids
    };
    let (mut patterns, mut decoys) = (sorted(false), sorted(true));
    let leak_count = match difficulty {
        1 | 2 => 1,
        _ => random.whole(1, 2) as usize,
    };
    let decoy_count = match difficulty {
        1 => 0,
        _ => (random.whole(1, 2) as usize).min(decoys.len()),
    };
    if difficulty > 1 && decoys.is_empty() {
        return Err(GameError::NoDecoy { difficulty });
    }
    let pattern_count = order.difficulty.players() - decoy_count;
    random.shuffle(&mut patterns);
    random.shuffle(&mut decoys);
    let (can_leak, cannot_leak): (Vec<&str>, Vec<&str>) =
        patterns.iter().partition(|id| leaks::can_leak(id));
    if patterns.len() < pattern_count || can_leak.len() < leak_count {
        return Err(GameError::TooFewPatterns {
            difficulty,
            needed: pattern_count,
            found: can_leak.len(),
        });
    }
    let (chosen, others) = can_leak.split_at(leak_count);
    let mut bystanders = [others, &cannot_leak].concat();
    random.shuffle(&mut bystanders);
    bystanders.truncate(pattern_count - leak_count);
    decoys.truncate(decoy_count);
    Ok(Cast {
        leaks: chosen.to_vec(),
        decoys,
        bystanders,
    })
}

/// The phases of the traffic: one, and at the hardest level two.
fn traffic(order: &Order, random: &mut Random) -> Vec<TrafficPhase> {
    let level = order.difficulty.level();
    let seconds = order.duration.as_secs_f64();
    let is_higher = random.unit() < 0.5;
    let factor = match (level, is_higher) {
        (HARDEST, true) => random.between(1.5, 2.5),
        (HARDEST, false) => random.between(0.4, 0.67),
        _ => 1.0,
    };
    let changes_at = order.duration.mul_f64(random.between(0.45, 0.55));
    // Both rates are from 5 to 40.
    let rate = random.between(5.0_f64.max(5.0 / factor), 40.0_f64.min(40.0 / factor));
    let most_per_second = MAX_REQUESTS as f64 / (seconds * factor.max(1.0));
    let rate = rate.min(most_per_second);
    let has_errors = level >= 3;
    let error_share = if has_errors {
        random.between(0.05, 0.15)
    } else {
        0.0
    };
    let first = TrafficPhase {
        at: Duration::ZERO,
        requests_per_second: rate,
        error_share,
        tenants: random.whole(5, 12) as u32,
    };
    let mut phases = vec![first];
    if level == HARDEST {
        phases.push(TrafficPhase {
            at: changes_at,
            requests_per_second: rate * factor,
            ..first
        });
    }
    phases
}

/// The players without aliases: leaks, decoys, bystanders.
fn players(
    order: &Order,
    cast: &Cast<'_>,
    phases: &[TrafficPhase],
    random: &mut Random,
) -> Vec<Player> {
    let level = order.difficulty.level();
    let latest = if level >= 4 { 0.5 } else { 0.4 };
    let mut players = Vec::new();
    let player = |plugin: &str, role, enabled_at, settings, leak| Player {
        alias: String::new(),
        plugin: plugin.to_owned(),
        role,
        enabled_at,
        settings,
        leak,
    };
    let play_time = |from: Duration| PlayTime {
        requests: traffic::expected(phases, from, order.duration),
        seconds: order.duration.saturating_sub(from).as_secs_f64(),
        error_share: phases.first().map_or(0.0, |phase| phase.error_share),
        tenants: phases.first().map_or(1, |phase| phase.tenants),
    };
    for plugin in &cast.leaks {
        let onset = order.duration.mul_f64(random.between(0.15, latest));
        let onset = Duration::from_millis(onset.as_millis() as u64);
        let count = cast.leaks.len();
        let (settings, leak) = leaks::leak(
            plugin,
            order.difficulty,
            onset,
            play_time(onset),
            count,
            random,
        );
        players.push(player(
            plugin,
            Role::Leak,
            Duration::ZERO,
            settings,
            Some(leak),
        ));
    }
    for (index, plugin) in cast.decoys.iter().enumerate() {
        let late = order.duration.mul_f64(random.between(0.45, 0.55));
        let late = Duration::from_millis(late.as_millis() as u64);
        let is_late = level == HARDEST && index == 0;
        let enabled_at = if is_late { late } else { Duration::ZERO };
        let settings = leaks::decoy(plugin, play_time(enabled_at), random);
        players.push(player(plugin, Role::Decoy, enabled_at, settings, None));
    }
    for plugin in &cast.bystanders {
        let settings = leaks::bystander(plugin, random);
        players.push(player(
            plugin,
            Role::Bystander,
            Duration::ZERO,
            settings,
            None,
        ));
    }
    players
}

/// The onsets, and at the hardest level a late decoy and a deploy.
fn events(order: &Order, players: &[Player], random: &mut Random) -> Vec<Event> {
    let mut events = Vec::new();
    for player in players {
        let alias = player.alias.clone();
        if let Some(leak) = &player.leak {
            let settings = leak.settings.clone();
            let action = Action::StartLeak { alias, settings };
            let at = leak.onset;
            events.push(Event { at, action });
        } else if player.enabled_at > Duration::ZERO {
            let at = player.enabled_at;
            let action = Action::Enable { alias };
            events.push(Event { at, action });
        }
    }
    let deploy_at = order.duration.mul_f64(random.between(0.6, 0.75));
    if order.difficulty.level() == HARDEST {
        events.push(Event {
            at: Duration::from_millis(deploy_at.as_millis() as u64),
            action: Action::Deploy,
        });
    }
    events.sort_by_key(|event| event.at);
    events
}
