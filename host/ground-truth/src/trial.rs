//! The trials of alert rules: each plays one plan in simulated time, and lets Prometheus evaluate
//! the rules over it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use plugin_host::load::loader::Loader;
use plugin_host::settings::Value;
use tokio::task::JoinSet;

use crate::load_shape::{Load, LoadShape};
use crate::plan::{Inactive, Plan, PluginPlan};
use crate::promtool::Rules;
use crate::recording::Recording;
use crate::score::{
    AlertScore, Firing, Observation, healthy_seconds, is_true, judge, judge_together,
};
use crate::simulated_host::SimulatedHost;
use crate::time_scale::TimeScale;
use crate::truth::{Restart, Truth};

/// The curves that a trial can play. The others need requests that fail or that have a tenant.
pub const CURVES: [&str; 4] = ["linear", "step", "exponential", "sawtooth"];

/// One simulation.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What is played: the id of a plugin, or the name of a scenario.
    pub name: String,
    /// The shape of the load.
    pub load: LoadShape,
    /// The curve, such as `linear`.
    pub curve: String,
    /// The plugins with their times.
    pub plan: Plan,
    /// How long after the end of a leak an alert about it is still true, in seconds.
    pub grace_seconds: u64,
}

/// A trial with its alerts and their scores.
#[derive(Debug)]
pub struct Tried {
    /// The trial.
    pub trial: Trial,
    /// What was true.
    pub truths: Vec<Truth>,
    /// The restarts of the process.
    pub restarts: Vec<Restart>,
    /// When alerts fired, and whether each was true.
    pub firings: Vec<(Firing, bool)>,
    /// The score of each alert.
    pub alerts: BTreeMap<String, AlertScore>,
    /// The score of all alerts together.
    pub together: AlertScore,
    /// Seconds in which nothing leaked.
    pub healthy_seconds: u64,
}

impl Trial {
    /// One plugin that runs fixed, and with its bug from the onset of the time scale on.
    pub fn of_plugin(plugin: &str, load: LoadShape, curve: &str, scale: &TimeScale) -> Self {
        let seconds = scale.healthy_seconds + scale.leak_seconds;
        let settings = match curve {
            "linear" => Vec::new(),
            curve => vec![("curve".to_owned(), Value::Text(curve.to_owned()))],
        };
        let plugin_plan = PluginPlan {
            plugin: plugin.to_owned(),
            settings,
            inactive: Inactive::Fixed,
            // The bug is still there at the end.
            active: vec![(scale.healthy_seconds, seconds + 1)],
        };
        Self {
            name: plugin.to_owned(),
            load,
            curve: curve.to_owned(),
            plan: Plan {
                plugins: vec![plugin_plan],
                load: load_of(load, scale),
                seconds,
                scrape_seconds: scale.scrape_seconds,
            },
            grace_seconds: scale.grace_seconds,
        }
    }
}

/// The load of a time scale in this shape.
pub fn load_of(shape: LoadShape, scale: &TimeScale) -> Load {
    Load {
        shape,
        requests_per_second: scale.requests_per_second,
        day_seconds: scale.day_seconds,
    }
}

/// What all trials share.
#[derive(Clone)]
pub struct Trials {
    /// Compiles the components.
    pub loader: Loader,
    /// The components (`*.wasm`).
    pub components: Vec<PathBuf>,
    /// The rules.
    pub rules: Arc<Rules>,
    /// Seconds between two evaluations of the rules.
    pub interval_seconds: u64,
}

impl Trials {
    /// Makes these trials, as many at once as the machine has processors. `done` is called after
    /// each. The result has their order.
    ///
    /// # Errors
    ///
    /// When a component does not load, a plan cannot be played, or promtool fails.
    pub async fn run(
        &self,
        trials: Vec<Trial>,
        done: impl Fn(&Trial) + Clone + Send + 'static,
    ) -> Result<Vec<Tried>> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = workers.min(trials.len());
        let trials = Arc::new(trials);
        let next = Arc::new(AtomicUsize::new(0));
        let mut running = JoinSet::new();
        for _ in 0..workers {
            let (all, trials, next, done) =
                (self.clone(), trials.clone(), next.clone(), done.clone());
            running.spawn(async move {
                let host = SimulatedHost::start(all.loader.clone(), &all.components).await?;
                let mut tried = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(trial) = trials.get(index) else {
                        return anyhow::Ok(tried);
                    };
                    tried.push((index, all.run_one(&host, trial).await?));
                    done(trial);
                }
            });
        }
        let mut tried = Vec::new();
        while let Some(worker) = running.join_next().await {
            tried.extend(worker.context("a worker panicked")??);
        }
        tried.sort_by_key(|(index, _)| *index);
        Ok(tried.into_iter().map(|(_, tried)| tried).collect())
    }

    async fn run_one(&self, host: &SimulatedHost, trial: &Trial) -> Result<Tried> {
        let title = || format!("{}, {}, {}", trial.name, trial.load, trial.curve);
        let recording = Recording::play(host, &trial.plan).await;
        let recording = recording.with_context(title)?;
        let (rules, interval) = (self.rules.clone(), self.interval_seconds);
        let evaluate = move || {
            let folder = tempfile::tempdir()?;
            let firings = rules.evaluate(&recording, interval, folder.path())?;
            anyhow::Ok((firings, recording.outcome))
        };
        let evaluated = tokio::task::spawn_blocking(evaluate).await;
        let (firings, outcome) = evaluated
            .context("the evaluation panicked")?
            .with_context(title)?;
        let restarts: Vec<u64> = outcome.restarts.iter().map(|restart| restart.at).collect();
        let observation = Observation {
            truths: &outcome.truths,
            from: 0,
            until: trial.plan.seconds,
            grace_seconds: trial.grace_seconds,
            restarts: &restarts,
        };
        let judged = firings.iter().map(|firing| is_true(firing, &observation));
        let judged: Vec<bool> = judged.collect();
        Ok(Tried {
            alerts: judge(&firings, self.rules.alerts(), &observation),
            together: judge_together(&firings, &observation),
            healthy_seconds: healthy_seconds(&observation),
            trial: trial.clone(),
            truths: outcome.truths,
            restarts: outcome.restarts,
            firings: firings.into_iter().zip(judged).collect(),
        })
    }
}
