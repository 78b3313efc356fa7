//! A simulated process: requests, restarts and scrapes, second by second.

mod measured;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use plugin_host::driver::handle::Plugin;
use plugin_host::settings::Value;

use crate::floor::FloorWindow;
use crate::plan::{Inactive, Plan, PluginPlan};
use crate::scrape::{HOST_BYTES, PROCESS_LIMIT_BYTES, PluginScrape, Scrape, State};
use crate::simulated_host::{FailedCall, SimulatedHost};
use crate::truth::{Restart, RestartCause, Truth};

use self::measured::Measured;

/// Seconds from the end of a process until the next one answers.
pub const RESTART_SECONDS: u64 = 10;

/// Settings that follow the real clock, or chance. In simulated time they mean nothing.
const REAL_TIME_SETTINGS: [&str; 7] = [
    "ttl_seconds",
    "target_mb",
    "target_minutes",
    "start_after_seconds",
    "duration_seconds",
    "repeat_seconds",
    "probability",
];

/// What a simulation leaves besides its scrapes.
#[derive(Debug)]
pub struct Outcome {
    /// The truth about each plugin, in the order of the plan.
    pub truths: Vec<Truth>,
    /// The restarts, in order.
    pub restarts: Vec<Restart>,
}

/// A plugin that is played.
struct Played<'a> {
    plan: &'a PluginPlan,
    plugin: Arc<Plugin>,
    window: FloorWindow,
    measured: Measured,
    failed_calls: u64,
    is_active: bool,
}

struct Simulation<'a> {
    host: &'a SimulatedHost,
    played: Vec<Played<'a>>,
    /// Requests since the start of the simulation.
    sent: u64,
    /// Requests that this process has answered.
    answered: u64,
    started_seconds: u64,
    /// When the next process answers; `None` while one does.
    down_until: Option<u64>,
    restarts: Vec<Restart>,
}

/// Plays a plan. `scraped` gets the time of each scrape in seconds, and what it has: `None` while
/// no process answers. The host has no active plugin before and after it.
///
/// # Errors
///
/// When a plugin of the plan is not loaded, refuses its settings, or does not start again.
pub async fn play(
    host: &SimulatedHost,
    plan: &Plan,
    mut scraped: impl FnMut(u64, Option<Scrape>),
) -> Result<Outcome> {
    let mut simulation = Simulation::start(host, plan).await?;
    let mut arrivals = plan.load.arrivals();
    let scrape_seconds = plan.scrape_seconds.max(1);
    for second in 0..=plan.seconds {
        simulation.begin_second(second, plan).await?;
        if second.is_multiple_of(scrape_seconds) {
            scraped(second, simulation.scrape());
        }
        if second < plan.seconds {
            let requests = arrivals.next().unwrap_or_default();
            simulation.serve(second, &requests).await;
        }
    }
    simulation.end(plan).await
}

impl<'a> Simulation<'a> {
    async fn start(host: &'a SimulatedHost, plan: &'a Plan) -> Result<Self> {
        let mut played = Vec::new();
        for of_plugin in &plan.plugins {
            refuse_real_time(of_plugin)?;
            let plugin = host.plugin(&of_plugin.plugin)?;
            plugin.reset(true).await?;
            let title = plugin.details().manifest.title.clone();
            played.push(Played {
                plan: of_plugin,
                plugin,
                window: FloorWindow::default(),
                measured: Measured::new(&title, of_plugin),
                failed_calls: 0,
                is_active: false,
            });
        }
        for one in &played {
            let mut settings = one.plan.settings.clone();
            settings.extend(variant(one.plan, false));
            let enabled = one.plan.inactive == Inactive::Fixed;
            host.configure(&one.plugin, enabled, settings).await?;
        }
        Ok(Self {
            host,
            played,
            sent: 0,
            answered: 0,
            started_seconds: 0,
            down_until: None,
            restarts: Vec::new(),
        })
    }

    /// Everything that happens at this second before its requests.
    async fn begin_second(&mut self, second: u64, plan: &Plan) -> Result<()> {
        if self.down_until.is_some_and(|until| until <= second) {
            self.down_until = None;
            self.started_seconds = second;
        }
        if self.down_until.is_none() {
            let cause = if self.resident_bytes() >= PROCESS_LIMIT_BYTES {
                Some(RestartCause::Killed)
            } else if plan.load.deploys_at(second) {
                Some(RestartCause::Deployed)
            } else {
                None
            };
            if let Some(cause) = cause {
                self.restart(second, cause).await?;
            }
        }
        let resident = self.resident_bytes();
        for one in &mut self.played {
            let is_active = one.plan.is_active(second);
            if is_active != one.is_active {
                one.is_active = is_active;
                one.window.clear();
                if is_active {
                    one.measured.begin(second, &one.plugin.reading(), resident);
                } else {
                    one.measured.pause();
                }
                let enabled = is_active || one.plan.inactive == Inactive::Fixed;
                let settings = variant(one.plan, is_active);
                self.host.configure(&one.plugin, enabled, settings).await?;
            }
        }
        Ok(())
    }

    /// Ends the process, and gives every plugin a fresh instance.
    async fn restart(&mut self, second: u64, cause: RestartCause) -> Result<()> {
        self.restarts.push(Restart { at: second, cause });
        self.down_until = Some(second + RESTART_SECONDS);
        self.answered = 0;
        for one in &mut self.played {
            one.measured.restart(second, cause);
            one.window.clear();
            one.failed_calls = 0;
            one.plugin.reset(false).await?;
        }
        Ok(())
    }

    /// The requests of one second. While no process answers, they are lost.
    async fn serve(&mut self, second: u64, requests: &[Duration]) {
        for time in requests {
            let number = self.sent;
            self.sent += 1;
            if self.down_until.is_some() {
                continue;
            }
            let failed = self.host.request(number, *time).await;
            self.answered += 1;
            self.count_failed(&failed);
        }
        if requests.is_empty() || self.down_until.is_some() {
            return;
        }
        for one in &mut self.played {
            let reading = one.plugin.reading();
            one.window.record(second + 1, &reading);
            if one.is_active {
                one.measured.record(second + 1, &reading);
            }
        }
    }

    fn count_failed(&mut self, failed: &[FailedCall]) {
        for call in failed {
            let mut played = self.played.iter_mut();
            if let Some(one) = played.find(|one| one.plan.plugin == call.plugin) {
                one.failed_calls += 1;
            }
        }
    }

    fn resident_bytes(&self) -> u64 {
        let plugins = self.played.iter();
        let linear: u64 = plugins.map(|one| one.plugin.reading().linear.bytes).sum();
        HOST_BYTES + linear
    }

    fn scrape(&self) -> Option<Scrape> {
        self.down_until.is_none().then(|| Scrape {
            resident_bytes: self.resident_bytes(),
            started_seconds: self.started_seconds,
            requests: self.answered,
            plugins: self.played.iter().map(Played::scrape).collect(),
        })
    }

    async fn end(self, plan: &Plan) -> Result<Outcome> {
        let mut truths = Vec::new();
        for one in self.played {
            truths.push(one.measured.truth(plan.seconds));
            one.plugin.reset(true).await?;
        }
        Ok(Outcome {
            truths,
            restarts: self.restarts,
        })
    }
}

impl Played<'_> {
    fn scrape(&self) -> PluginScrape {
        let reading = self.plugin.reading();
        let details = self.plugin.details();
        let live_bytes = reading.heap_live.unwrap_or_default();
        PluginScrape {
            live_bytes,
            floor_bytes: self.window.floor_bytes(live_bytes),
            linear_bytes: reading.linear.bytes,
            retained_bytes: reading.retained.bytes,
            retained_objects: reading.retained.objects,
            calls: reading.requests.saturating_sub(self.failed_calls),
            failed_calls: self.failed_calls,
            state: match details.state.name() {
                "exhausted" => State::Exhausted,
                "faulted" => State::Faulted,
                _ => State::Running,
            },
            enabled: self.plugin.enabled(),
            limit_bytes: details.settings.policy().memory_limit,
        }
    }
}

/// The setting `variant` of a plugin that runs all the time.
fn variant(plan: &PluginPlan, is_active: bool) -> Vec<(String, Value)> {
    match plan.inactive {
        Inactive::Off => Vec::new(),
        Inactive::Fixed => {
            let variant = if is_active { "leaky" } else { "fixed" };
            vec![("variant".to_owned(), Value::Text(variant.to_owned()))]
        }
    }
}

/// Refuses settings that have no meaning in simulated time.
fn refuse_real_time(plan: &PluginPlan) -> Result<()> {
    for (name, value) in &plan.settings {
        if REAL_TIME_SETTINGS.contains(&name.as_str()) && *value != Value::Unset {
            bail!(
                "{}: the setting {name} follows the real clock or chance, which a simulation \
                 does not have; leave it out",
                plan.plugin
            );
        }
    }
    Ok(())
}
