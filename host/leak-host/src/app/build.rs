//! From the configuration to the parts of the host. Each part starts in one function.

use std::sync::Arc;

use anyhow::Context;
use axum::http::{Method, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::startup::{FirstLeaks, Scenario};
use super::{App, Listeners};
use crate::config::Config;
use crate::plugin_loader;
use admin_api::ApiState;
use lab::heap::Heaps;
use lab::metrics::Metrics;
use lab::metrics_refresh;
use lab::monitor::Monitor;
use lab::post_mortem::PostMortem;
use lab::profiles::HeapProfiles;
use plugin_host::registry::Registry;
use process_memory::byte_size::ByteSize;
use process_memory::limit::MemoryBudget;
use process_memory::process::ProcessReader;
use process_memory::watchdog::{LimitExceeded, Watchdog};
use telemetry::Telemetry;

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl App {
    /// Starts every part of the host, with the addresses bound. Loads no plugin.
    pub(super) async fn build(config: &Config) -> anyhow::Result<Self> {
        let listeners = bind(config).await?;
        // After the bind: a second host on the same address must not archive the readings of the
        // first one.
        let post_mortem = open_post_mortem(config);
        let watchdog = start_watchdog(config, &post_mortem)?;
        let monitor = Arc::new(start_monitor(config)?);
        let metrics = Arc::new(register_metrics(config)?);
        let tasks = TaskTracker::new();
        let registry = Arc::new(create_registry(config, &metrics, &tasks)?);
        let heaps = Arc::new(Heaps::new(registry.loader().clone()));
        let telemetry = start_telemetry(config, &metrics, &registry, &monitor, &heaps)?;
        monitor.set_telemetry_queue(telemetry.queue_usage());
        let state = Arc::new(ApiState::new(
            config.api_options(),
            registry,
            monitor,
            heaps,
            metrics,
            post_mortem,
            telemetry.tracer(),
        ));
        Ok(App {
            state,
            first: first_leaks(config)?,
            fleet: config.identity.fleet(config.admin_token.as_deref())?,
            telemetry,
            listeners,
            limits: config.clients.limits(),
            tasks,
            stopping: CancellationToken::new(),
            _watchdog: watchdog,
        })
    }
}

/// What is on from the start. A scenario that is wrong stops the start at once.
fn first_leaks(config: &Config) -> anyhow::Result<FirstLeaks> {
    let scenario = config.scenario.as_deref().map(Scenario::read);
    Ok(FirstLeaks {
        enable: config.enable.clone(),
        scenario: scenario.transpose()?,
    })
}

async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let bind = async |address| {
        let bound = TcpListener::bind(address).await;
        bound.with_context(|| format!("cannot listen on {address}"))
    };
    Ok(Listeners {
        service: bind(config.listen).await?,
        admin: match config.admin_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        },
    })
}

fn open_post_mortem(config: &Config) -> PostMortem {
    match config.post_mortem_folder() {
        Some(folder) => PostMortem::open(&folder, config.listen),
        None => PostMortem::disabled(),
    }
}

/// Enforces `--memory-limit`. Without the option there is no watchdog; the kernel enforces the
/// limit of a container.
fn start_watchdog(config: &Config, post_mortem: &PostMortem) -> anyhow::Result<Option<Watchdog>> {
    let Some(limit) = config.memory_limit else {
        return Ok(None);
    };
    let process = ProcessReader::new()?;
    let post_mortem = post_mortem.clone();
    let exit = move |exceeded: LimitExceeded| {
        post_mortem.record_cause(&exceeded.to_string());
        exceeded.exit_as_killed();
    };
    let watchdog = Watchdog::spawn(limit.bytes(), move || process.resident_bytes(), exit)?;
    Ok(Some(watchdog))
}

fn start_monitor(config: &Config) -> anyhow::Result<Monitor> {
    let budget = MemoryBudget::detect(config.memory_limit.map(ByteSize::bytes));
    Monitor::new(budget).context("cannot read the memory of this process")
}

fn register_metrics(config: &Config) -> anyhow::Result<Metrics> {
    let metrics = Metrics::new(&config.service_name, VERSION, &config.identity.revision)?;
    // These series exist before the first request.
    for endpoint in ["/api/data", "/health", "/metrics"] {
        metrics.http.prepare(&Method::GET, endpoint, StatusCode::OK);
    }
    Ok(metrics)
}

fn create_registry(
    config: &Config,
    metrics: &Metrics,
    tasks: &TaskTracker,
) -> anyhow::Result<Registry> {
    let loader = plugin_loader::start(
        config.cache_folder(),
        config.cache_limits(),
        config.max_plugin_size,
        config.compile.limits(),
        &config.code,
    )?;
    Ok(Registry::new(
        loader,
        config.plugins.clone(),
        config.defaults(),
        metrics.plugins.clone(),
        tasks.clone(),
    ))
}

fn start_telemetry(
    config: &Config,
    metrics: &Arc<Metrics>,
    registry: &Arc<Registry>,
    monitor: &Arc<Monitor>,
    heaps: &Arc<Heaps>,
) -> anyhow::Result<Telemetry> {
    let profiles = HeapProfiles::new(metrics.clone(), registry.clone(), heaps.clone());
    let (metrics, registry) = (metrics.clone(), registry.clone());
    let (monitor, heaps) = (monitor.clone(), heaps.clone());
    let families = move || {
        if let Err(error) = metrics_refresh::refresh(&metrics, &registry, &monitor, &heaps) {
            tracing::warn!(%error, "cannot read the memory of this process");
        }
        metrics.families()
    };
    let settings = config.telemetry.settings()?;
    let mut telemetry = Telemetry::start(settings, &config.service_name, VERSION, families)?;
    telemetry.export_profiles(profiles)?;
    Ok(telemetry)
}

/// Raises the soft limit of open files to the hard limit. Compiled code is mapped from a file that
/// stays open, and a thousand plugins exceed the soft limit of many systems.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}
