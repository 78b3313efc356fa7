//! The running service: builds its parts, listens, and stops in good order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::http::{Method, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::listener::answer;
use admin_api::Lab;
use console::Console;
use lab::heap::Heaps;
use lab::metrics::Metrics;
use lab::metrics_refresh;
use lab::monitor::Monitor;
use lab::post_mortem::PostMortem;
use lab::sampler;
use plugin_host::engine;
use plugin_host::load::cache::Cache;
use plugin_host::load::loader::Loader;
use plugin_host::load::watch;
use plugin_host::registry::Registry;
use process_memory::allocator;
use process_memory::byte_size::ByteSize;
use process_memory::limit::MemoryBudget;
use process_memory::process::ProcessReader;
use process_memory::watchdog::{LimitExceeded, Watchdog};
use telemetry::{Telemetry, logs};

/// Time that requests in flight get after SIGTERM.
const DRAIN: Duration = Duration::from_secs(4);

/// Time that what still runs gets after everything else has ended.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// When a part cannot be built: an address in use, an unknown leak in `--enable`, …
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    logs::init(&config.log)?;
    raise_file_limit();
    allocator::limit_arenas();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let app = App::build(&config).await?;
        app.serve().await
    });
    // A component that is being compiled cannot be interrupted.
    runtime.shutdown_timeout(LAST_TASKS);
    ended
}

struct App {
    lab: Arc<Lab>,
    telemetry: Telemetry,
    service: TcpListener,
    admin: Option<TcpListener>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    _watchdog: Option<Watchdog>,
}

impl App {
    async fn build(config: &Config) -> anyhow::Result<Self> {
        let listen = async |address| {
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address}"))
        };
        let service = listen(config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let budget = MemoryBudget::detect(config.memory_limit.map(ByteSize::bytes));
        let monitor = Arc::new(Monitor::new(budget).context("cannot read the process's memory")?);
        let post_mortem = match config.post_mortem_folder() {
            Some(folder) => PostMortem::open(&folder, config.listen),
            None => PostMortem::disabled(),
        };
        let watchdog = match config.memory_limit {
            None => None,
            Some(limit) => {
                let reader = ProcessReader::new()?;
                let last_words = post_mortem.clone();
                Some(Watchdog::spawn(
                    limit.bytes(),
                    move || reader.resident_bytes(),
                    move |exceeded: LimitExceeded| {
                        last_words.record_cause(&exceeded.to_string());
                        exceeded.exit_as_killed();
                    },
                )?)
            }
        };

        let engine = engine::start().map_err(describe)?;
        let cache = Cache::open(config.cache_folder(), &engine);
        let loader =
            Loader::new(engine, cache, config.max_plugin_size.bytes()).map_err(describe)?;
        let tasks = TaskTracker::new();
        let metrics = Arc::new(Metrics::new(
            &config.service_name,
            env!("CARGO_PKG_VERSION"),
            &config.revision,
        )?);
        let registry = Arc::new(Registry::new(
            loader,
            config.plugins.clone(),
            config.defaults(),
            metrics.plugins.clone(),
            tasks.clone(),
        ));
        registry.load_folder().await?;
        for name in &config.enable {
            let plugin = registry.get(name);
            ensure!(
                plugin.is_some(),
                "--enable {name}: no such leak; there are {}",
                known(&registry)
            );
            if let Some(plugin) = plugin {
                registry.switch(&plugin, Some(true), Vec::new()).await?;
            }
        }
        for endpoint in ["/api/data", "/health", "/metrics"] {
            metrics.http.prepare(&Method::GET, endpoint, StatusCode::OK);
        }
        let heaps = Arc::new(Heaps::new(registry.loader().clone()));
        let telemetry = {
            let (metrics, registry) = (metrics.clone(), registry.clone());
            let (monitor, heaps) = (monitor.clone(), heaps.clone());
            let gather = move || {
                if let Err(error) = metrics_refresh::refresh(&metrics, &registry, &monitor, &heaps)
                {
                    tracing::warn!(%error, "cannot read the process's memory");
                }
                metrics.families()
            };
            let version = env!("CARGO_PKG_VERSION");
            Telemetry::start(
                config.telemetry.settings()?,
                &config.service_name,
                version,
                gather,
            )?
        };
        monitor.set_telemetry_queue(telemetry.queue());
        let lab = Arc::new(Lab::new(
            config.api_options(),
            registry,
            monitor,
            heaps,
            metrics,
            post_mortem,
            telemetry.tracer(),
        ));
        allocator::release_free_pages();
        Ok(App {
            lab,
            telemetry,
            service,
            admin,
            tasks,
            stopping: CancellationToken::new(),
            _watchdog: watchdog,
        })
    }

    async fn serve(self) -> anyhow::Result<()> {
        let App {
            lab,
            telemetry,
            service,
            admin,
            tasks,
            stopping,
            _watchdog,
        } = self;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;

        let sampling = {
            let (lab, stopping) = (lab.clone(), stopping.clone());
            tasks.spawn(async move {
                let requests = lab.clone();
                let sampler = sampler::run(
                    lab.monitor.clone(),
                    lab.registry.clone(),
                    lab.heaps.clone(),
                    move || {
                        requests.forget_unloaded();
                        requests.requests()
                    },
                );
                tokio::select! { () = sampler => {}, () = stopping.cancelled() => {} }
            })
        };

        let last_words = tasks.spawn(admin_api::post_mortem::keep(lab.clone()));
        tasks.spawn(watch::follow(lab.registry.clone(), stopping.clone()));

        // Scripts read this line to learn the port.
        println!("leak-host listening on http://{}", service.local_addr()?);
        if let Some(admin) = &admin {
            println!("leak-host admin API on http://{}", admin.local_addr()?);
        }

        let mut servers = tokio::task::JoinSet::new();
        let mut listen = |listener: TcpListener, routes| {
            let (routes, stopping) = (admin_api::finish(routes, &lab), stopping.clone());
            servers.spawn(answer(listener, routes, lab.client_timeout, stopping));
        };
        let console = Console::new(lab.clone(), tasks.clone(), stopping.clone()).routes();
        let outer = admin_api::service(lab.clone());
        match admin {
            None => listen(
                service,
                outer
                    .merge(admin_api::admin(lab.clone()))
                    .merge(console.into()),
            ),
            Some(admin) => {
                listen(service, outer);
                let traffic = admin_api::traffic(lab.clone());
                let inner = admin_api::admin(lab.clone()).merge(traffic);
                listen(admin, inner.merge(console.into()));
            }
        }
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("Ctrl-C: draining"),
            Some(ended) = servers.join_next() => ended?,
        }
        stopping.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            while servers.join_next().await.is_some() {}
        })
        .await;
        if drained.is_err() {
            tracing::warn!(
                "connections still open after {} s: closing them",
                DRAIN.as_secs()
            );
            servers.abort_all();
        }
        sampling.abort();
        last_words.abort();
        // Somebody who changes the list waits for a plugin that is slow.
        let _ = tokio::time::timeout(LAST_TASKS, lab.registry.unload_all()).await;
        tasks.close();
        // Drivers end when their calls do; a call has a deadline of its own.
        let _ = tokio::time::timeout(LAST_TASKS, tasks.wait()).await;
        lab.post_mortem.record_clean_exit();
        telemetry.flush().await;
        Ok(())
    }
}

/// Compiled code is mapped from a file that stays open: a thousand plugins are more than many systems' soft limit.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// wasmtime's errors are no standard errors.
fn describe(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn known(registry: &Registry) -> String {
    let plugins = registry.plugins();
    if plugins.is_empty() {
        return "none: --plugins names the folder they are loaded from".into();
    }
    plugins
        .iter()
        .map(|p| p.id())
        .collect::<Vec<_>>()
        .join(", ")
}
