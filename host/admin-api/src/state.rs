//! The state that every handler shares.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use guest_heap_inspector::profile::Profiles;
use tokio::sync::Semaphore;

use crate::alert_store::AlertStore;
use crate::body_budget::BodyBudget;
use crate::error::ApiError;
use crate::exercise_progress::{Action, Recorder, Step};
use crate::host_identity::HostIdentity;
use crate::host_name::AllowedHost;
use crate::mystery_run::CurrentMystery;
use crate::scenario_run::RunningScenario;
use crate::scorer_run::LiveScorer;
use lab::heap::Heaps;
use lab::heap::baselines::Baselines;
use lab::ledger::Ledger;
use lab::metrics::Metrics;
use lab::monitor::Monitor;
use lab::post_mortem::PostMortem;
use plugin_host::driver::handle::Plugin;
use plugin_host::registry::Registry;
use process_memory::process::ProcessReading;
use telemetry::traces::Tracer;

/// The most bytes of bodies that are not components.
const SMALL_BODIES_BYTES: u64 = 16 << 20;

/// The command-line options that the API needs.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Who this host is among others.
    pub identity: HostIdentity,
    /// Whether the console has the fleet view.
    pub has_fleet_view: bool,
    /// The `service` field of every answer and the `service` label of the metrics.
    pub service_name: String,
    /// The minimum duration of `GET /api/data`.
    pub base_latency: Duration,
    /// The longest pause between two parts of a request body.
    pub client_timeout: Duration,
    /// The most bytes of request bodies that the host has in memory, or the largest component if
    /// that is more.
    pub upload_budget: u64,
    /// The time limit of one call into a plugin.
    pub plugin_deadline: Duration,
    /// The bearer token that the admin API requires. An empty token counts as no token.
    pub admin_token: Option<String>,
    /// The bearer token of the instructor of a mystery, who sees its truth. An empty token counts
    /// as no token.
    pub instructor_token: Option<String>,
    /// The names under which the admin API answers, next to `localhost` and IP addresses.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The checkouts that the plugins were built from, in the order in which the source view looks
    /// for a file. It reads only files below them.
    pub source_roots: Vec<PathBuf>,
}

/// The state that every handler shares.
pub struct ApiState {
    /// The loaded plugins.
    pub registry: Arc<Registry>,
    /// Memory readings of the process and the plugins, with fifteen minutes of history.
    pub monitor: Arc<Monitor>,
    /// The plugins' heaps by source line.
    pub heaps: Arc<Heaps>,
    /// The readings that survive this process, and those of the last run that was killed.
    pub post_mortem: PostMortem,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tracer: Tracer,
    pub(crate) baselines: Baselines,
    /// The notifications of Alertmanager.
    pub(crate) alerts: AlertStore,
    /// The progress through the exercises.
    pub(crate) exercises: Recorder,
    /// The scenario that runs.
    pub(crate) scenario: RunningScenario,
    /// The alerts that are scored.
    pub(crate) scorer: LiveScorer,
    /// The mystery that is played.
    pub(crate) mystery: CurrentMystery,
    /// Makes the router of the service, which a mystery sends its traffic through.
    service: OnceLock<fn(&Arc<Self>) -> Router>,
    /// Bounds the profiles that wait for their `seconds`.
    pub(crate) profiles: Profiles,
    /// One permit: the host checks one component at a time.
    pub(crate) check_permit: Semaphore,
    /// Bounds the components that clients send.
    pub(crate) uploads: Arc<BodyBudget>,
    /// Bounds all other bodies, so that uploads do not keep other calls out.
    pub(crate) small_bodies: Arc<BodyBudget>,
    pub(crate) options: ApiOptions,
    requests: AtomicU64,
    ready: AtomicBool,
    started: Instant,
}

impl ApiState {
    /// The state of a host that has not served a request yet.
    pub fn new(
        options: ApiOptions,
        registry: Arc<Registry>,
        monitor: Arc<Monitor>,
        heaps: Arc<Heaps>,
        metrics: Arc<Metrics>,
        post_mortem: PostMortem,
        tracer: Tracer,
    ) -> Self {
        let largest = registry.loader().max_size();
        ApiState {
            uploads: BodyBudget::new(options.upload_budget.max(largest)),
            small_bodies: BodyBudget::new(SMALL_BODIES_BYTES),
            exercises: Recorder::after_previous_run(&post_mortem),
            scenario: RunningScenario::default(),
            scorer: LiveScorer::default(),
            mystery: CurrentMystery::default(),
            service: OnceLock::new(),
            registry,
            monitor,
            heaps,
            post_mortem,
            metrics,
            tracer,
            baselines: Baselines::default(),
            alerts: AlertStore::default(),
            profiles: Profiles::default(),
            check_permit: Semaphore::new(1),
            options: ApiOptions {
                admin_token: options.admin_token.filter(|token| !token.is_empty()),
                instructor_token: options.instructor_token.filter(|token| !token.is_empty()),
                ..options
            },
            requests: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Records that the plugins are loaded: `/health/ready` answers 200 from now on.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Sets what makes the router of the service. Later calls change nothing.
    pub(crate) fn set_service(&self, service: fn(&Arc<Self>) -> Router) {
        let _ = self.service.set(service);
    }

    /// A router of the service without the admin API.
    pub(crate) fn service_router(self: &Arc<Self>) -> Router {
        self.service
            .get()
            .map_or_else(Router::new, |make| make(self))
    }

    /// Whether the console has the fleet view.
    pub fn has_fleet_view(&self) -> bool {
        self.options.has_fleet_view
    }

    /// The time since the host started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The longest pause between two parts of a request.
    pub fn client_timeout(&self) -> Duration {
        self.options.client_timeout
    }

    /// A reading of the process's memory, and the ledger of what takes it.
    pub(crate) fn process_and_ledger(&self) -> Result<(ProcessReading, Ledger), ApiError> {
        let process = self
            .monitor
            .process()
            .map_err(|error| ApiError::internal(&error))?;
        let ledger = self.monitor.ledger(&process, &self.registry, &self.heaps);
        Ok((process, ledger))
    }

    /// Requests to `/api/data` since the start.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Records what a client has done, for the progress through the exercises.
    pub(crate) fn record(&self, action: &Action) {
        self.exercises
            .observe(&self.registry, || self.requests(), action);
    }

    /// Records that a client reads the overview of the console. Returns what is missing for each
    /// step of the exercises, by its id: `None` for a step that is done.
    pub(crate) fn record_overview(&self) -> BTreeMap<&'static str, Option<String>> {
        self.record(&Action::ReadOverview);
        let steps = self.exercises.steps(Step::ALL.iter().copied());
        steps
            .into_iter()
            .map(|(step, missing)| (step.id(), missing))
            .collect()
    }

    /// Drops the heaps and the baselines of plugins that are no longer loaded.
    pub fn drop_unloaded(&self) {
        let plugins = self.registry.plugins();
        self.baselines.retain_loaded(&plugins);
        self.heaps.retain_loaded(&plugins);
    }

    /// The plugin whose leak has this name, or 404 `unknown_leak`.
    pub(crate) fn leak(&self, name: &str) -> Result<Arc<Plugin>, ApiError> {
        self.find(name, ApiError::unknown_leak)
    }

    /// The plugin with this id, or 404 `unknown_plugin`.
    pub(crate) fn plugin(&self, id: &str) -> Result<Arc<Plugin>, ApiError> {
        self.find(id, ApiError::unknown_plugin)
    }

    fn find(
        &self,
        id: &str,
        unknown: fn(&str, &[&str]) -> ApiError,
    ) -> Result<Arc<Plugin>, ApiError> {
        self.registry.get(id).ok_or_else(|| {
            let plugins = self.registry.plugins();
            let known: Vec<&str> = plugins.iter().map(|plugin| plugin.id()).collect();
            unknown(id, &known)
        })
    }
}
