//! A host without plugins: it computes what each of them would hold, request by request.

use std::collections::HashSet;

use super::super::*;
use crate::Measured;
use crate::events::Action;
use crate::game::Game;
use crate::player::{Player, Role, SettingValue};
use crate::random::Random;
use crate::traffic::PlannedRequest;

/// Resident memory of a host without load.
const IDLE_BYTES: f64 = 70e6;

/// Objects that a pattern with its bug fixed keeps.
const FIXED_OBJECTS: u64 = 100;

pub(super) struct Simulation<'a> {
    game: &'a Game,
    plugins: Vec<Plugin<'a>>,
    now: Duration,
    requests: u64,
    new_traces: Vec<Trace>,
    random: Random,
}

struct Plugin<'a> {
    player: &'a Player,
    settings: Vec<(String, SettingValue)>,
    enabled: bool,
    leaking: bool,
    /// Requests of the instance, and those since its curve started.
    sequence: u64,
    curve: u64,
    /// Bytes that a leak has retained, and that a decoy or a fixed pattern holds.
    leaked: f64,
    held: f64,
    /// The largest size: linear memory does not shrink.
    peak: f64,
    items: HashSet<u64>,
    /// Bytes that instances before a deploy had leaked.
    carried: f64,
    /// Requests since the onset.
    since_onset: u64,
}

impl Plugin<'_> {
    fn number(&self, name: &str, default: f64) -> f64 {
        let found = self.settings.iter().rev().find(|(found, _)| found == name);
        match found.map(|(_, value)| value) {
            Some(SettingValue::Integer(value)) => *value as f64,
            Some(SettingValue::Number(value)) => *value,
            _ => default,
        }
    }

    fn live(&self) -> f64 {
        self.leaked + self.held
    }

    fn request(&mut self, request: &PlannedRequest, random: &mut Random) {
        if !self.enabled {
            return;
        }
        self.sequence += 1;
        let payload = self.number("payload_bytes", 4096.0);
        match self.player.role {
            Role::Decoy => self.held = self.decoy(payload, random),
            _ if self.leaking => {
                self.since_onset += 1;
                self.curve += 1;
                self.leaked += self.leak(payload, request, random);
            }
            _ => self.held = self.sequence.min(FIXED_OBJECTS) as f64 * payload,
        }
        self.peak = self.peak.max(self.live());
    }

    fn leak(&self, payload: f64, request: &PlannedRequest, random: &mut Random) -> f64 {
        let every = self.number("curve_every", 1.0) as u64;
        let curve = self.settings.iter().rev().find(|(name, _)| name == "curve");
        let curve = match curve {
            Some((_, SettingValue::Text(curve))) => curve.as_str(),
            _ => "linear",
        };
        let retains = match curve {
            "on-error" => request.fail.is_some(),
            "one-tenant" => u64::from(request.tenant).is_multiple_of(every),
            "step" => self.curve.is_multiple_of(every),
            _ => random.unit() < self.number("probability", 1.0),
        };
        match (retains, curve) {
            (false, _) => 0.0,
            (true, "step") => payload * every as f64,
            (true, "exponential") => payload * ((self.curve - 1) as f64 / every as f64).exp2(),
            (true, _) => payload,
        }
    }

    fn decoy(&mut self, payload: f64, random: &mut Random) -> f64 {
        let sequence = self.sequence as f64;
        match self.player.plugin.as_str() {
            "warm-up" => {
                let items = self.number("items", 100.0) as u64;
                self.items.insert(random.whole(1, items));
                self.items.len() as f64 * payload
            }
            "sawtooth" => sequence % self.number("batch_records", 100.0) * payload,
            "one-off-spike" => {
                let at = self.number("at_request", 50.0);
                let is_held = (at..at + self.number("hold_requests", 50.0)).contains(&sequence);
                if is_held { payload } else { 0.0 }
            }
            // Half of the requests of a second, plus noise: enough for a plugin that is flat.
            _ => (payload * 100.0).min(sequence * payload) * random.between(0.9, 1.1),
        }
    }
}

impl<'a> Simulation<'a> {
    pub(super) fn new(game: &'a Game) -> Self {
        let plugin = |player: &'a Player| Plugin {
            player,
            settings: player.settings.clone(),
            enabled: player.enabled_at.is_zero(),
            leaking: false,
            sequence: 0,
            curve: 0,
            leaked: 0.0,
            held: 0.0,
            peak: 0.0,
            items: HashSet::new(),
            carried: 0.0,
            since_onset: 0,
        };
        Simulation {
            game,
            plugins: game.players().iter().map(plugin).collect(),
            now: Duration::ZERO,
            requests: 0,
            new_traces: Vec::new(),
            random: Random::new(game.order().seed),
        }
    }

    /// Plays the events and the requests until this time.
    pub(super) fn run_until(&mut self, end: Duration) {
        let mut events = self
            .game
            .events()
            .iter()
            .filter(|event| (self.now..end).contains(&event.at));
        let mut next_event = events.next();
        let requests: Vec<_> = self.game.requests_between(self.now, end).collect();
        for request in &requests {
            while let Some(event) = next_event.filter(|event| event.at <= request.at) {
                apply(&mut self.plugins, &event.action);
                next_event = events.next();
            }
            self.requests += 1;
            let mut spans = Vec::new();
            for plugin in &mut self.plugins {
                let before = plugin.live();
                plugin.request(request, &mut self.random);
                spans.push(PluginSpan {
                    plugin: plugin.player.alias.clone(),
                    live_bytes_delta: Some((plugin.live() - before) as i64),
                });
            }
            self.new_traces.push(Trace {
                at_seconds: request.at.as_secs_f64(),
                tenant: Some(request.tenant),
                status: request.fail.unwrap_or(200),
                plugins: spans,
            });
        }
        for event in next_event.into_iter().chain(events) {
            apply(&mut self.plugins, &event.action);
        }
        self.now = end;
    }

    fn resident(&self) -> f64 {
        IDLE_BYTES
            + self
                .plugins
                .iter()
                .map(|plugin| plugin.peak * 1.1)
                .sum::<f64>()
    }

    /// What the level shows now. The traces are all requests since the last view.
    pub(super) fn view(&mut self, elapsed: Duration) -> View {
        let shows_plugins = self.game.visibility().shows_plugins();
        let readings = self.plugins.iter().map(|plugin| PluginReading {
            plugin: plugin.player.alias.clone(),
            live_bytes: Some(plugin.live() as u64),
        });
        let leaking = self.plugins.iter().filter(|plugin| plugin.leaking);
        let growing = leaking.map(|plugin| {
            let id = &plugin.player.plugin;
            GrowingLine {
                plugin: plugin.player.alias.clone(),
                location: (self.game.order().difficulty.level() == 1)
                    .then(|| format!("plugins/{id}/src/lib.rs:67")),
                function: Some("on_request".to_owned()),
            }
        });
        let shows_code = self.game.order().difficulty.level() <= 2;
        View {
            observation: Observation {
                elapsed_seconds: elapsed.as_secs_f64(),
                requests: self.requests,
                process: ProcessReading {
                    rss_bytes: self.resident() as u64,
                    limit_bytes: Some(256 << 20),
                },
                plugins: shows_plugins.then(|| readings.collect()),
            },
            growing: growing.filter(|_| shows_code).collect(),
            traces: std::mem::take(&mut self.new_traces),
        }
    }

    /// What a host would measure.
    pub(super) fn measured(&self, elapsed: Duration) -> Vec<Measured> {
        let begun = self.plugins.iter().filter(|plugin| plugin.leaking);
        let per_second = |plugin: &Plugin<'_>| {
            let onset = plugin
                .player
                .leak
                .as_ref()
                .map_or(Duration::ZERO, |leak| leak.onset);
            plugin.leaked / elapsed.saturating_sub(onset).as_secs_f64().max(1.0)
        };
        let growth: f64 = begun.clone().map(per_second).sum();
        let left = (256 << 20) as f64 - self.resident();
        begun
            .map(|plugin| Measured {
                alias: plugin.player.alias.clone(),
                bytes_per_request: Some(
                    (plugin.carried + plugin.leaked) / plugin.since_onset.max(1) as f64,
                ),
                location: vec![format!("plugins/{}/src/lib.rs:67", plugin.player.plugin)],
                functions: vec!["on_request".to_owned()],
                growth_bytes_per_second: per_second(plugin),
                seconds_to_limit: Some(left / (growth * 1.1).max(1.0)),
                limit_bytes: Some(256 << 20),
            })
            .collect()
    }
}

fn apply(plugins: &mut [Plugin<'_>], action: &Action) {
    for plugin in plugins {
        match action {
            Action::StartLeak { alias, settings } if *alias == plugin.player.alias => {
                plugin.settings.extend(settings.iter().cloned());
                plugin.leaking = true;
            }
            Action::Enable { alias } if *alias == plugin.player.alias => plugin.enabled = true,
            Action::Deploy => {
                plugin.carried += plugin.leaked;
                (plugin.sequence, plugin.curve) = (0, 0);
                (plugin.leaked, plugin.held, plugin.peak) = (0.0, 0.0, 0.0);
                plugin.items.clear();
            }
            _ => {}
        }
    }
}
