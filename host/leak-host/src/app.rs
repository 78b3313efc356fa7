//! The running host: starts its parts, serves until a signal, and shuts down.
//!
//! [`App::build`] starts every part that can fail, in the file `build.rs`. [`App::serve`] starts
//! the background tasks and the servers, and stops them in the reverse order. The host loads the
//! plugins while it serves, in `startup.rs`.

mod build;
mod startup;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fleet::calls::Fleet;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::startup::FirstLeaks;
use crate::config::Config;
use crate::listener::{self, ClientLimits};
use admin_api::ApiState;
use lab::sampler;
use plugin_host::registry::Registry;
use process_memory::allocator;
use process_memory::watchdog::Watchdog;
use telemetry::{Telemetry, logs};

/// Time that requests in progress get after a signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(4);

/// Time that each later step of the shutdown gets.
const SHUTDOWN_STEP_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a thread for blocking work waits for more of it. Its stack stays resident as long, and
/// a busy machine needs a dozen threads for a moment. The sampler's work comes every second.
const BLOCKING_THREAD_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// When a part cannot start: an address is in use, `--enable` names an unknown leak, …
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    logs::init(&config.log)?;
    build::raise_file_limit();
    allocator::limit_arenas();
    allocator::return_large_blocks();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(BLOCKING_THREAD_KEEP_ALIVE)
        .build()?;
    let result = runtime.block_on(async {
        // First of all: without a handler, process 1 of a container ignores SIGTERM.
        let signals = Signals::listen()?;
        let app = App::build(config).await?;
        app.serve(signals).await
    });
    // A guest within one long instruction cannot be interrupted: the host exits without waiting.
    runtime.shutdown_timeout(SHUTDOWN_STEP_TIMEOUT);
    result
}

/// Every part of the host, started and not serving yet.
struct App {
    state: Arc<ApiState>,
    /// What is enabled once it is loaded.
    first: FirstLeaks,
    /// The hosts of the fleet view.
    fleet: Option<Fleet>,
    telemetry: Telemetry,
    listeners: Listeners,
    limits: ClientLimits,
    /// Plugins, event streams and background tasks.
    tasks: TaskTracker,
    /// Cancelled when the host shuts down.
    stopping: CancellationToken,
    _watchdog: Option<Watchdog>,
}

/// The bound sockets.
struct Listeners {
    service: TcpListener,
    /// `None` if the admin API is on the service's address.
    admin: Option<TcpListener>,
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl App {
    async fn serve(self, mut signals: Signals) -> anyhow::Result<()> {
        let post_mortem_writer = self.start_background_tasks();
        let mut startup = self.start_loading();
        self.listeners.announce()?;
        let App {
            state,
            first: _,
            fleet,
            telemetry,
            listeners,
            limits,
            tasks,
            stopping,
            _watchdog,
        } = self;
        let mut console = console::routes(state.clone(), tasks.clone(), stopping.clone());
        if let Some(fleet) = fleet {
            console = console.merge(console::fleet_routes(state.clone(), fleet));
        }
        let mut servers = listeners.serve(&state, console, limits, &stopping);

        let mut result = Ok(());
        tokio::select! {
            name = signals.recv() => tracing::info!("{name}: draining"),
            Some(ended) = servers.join_next() => ended?,
            Ok(error) = &mut startup => result = Err(error),
        }

        stopping.cancel();
        drain(&mut servers).await;
        post_mortem_writer.abort();
        // Waits for a load or unload in progress, which a slow plugin can delay.
        let _timed_out = timeout(SHUTDOWN_STEP_TIMEOUT, state.registry.unload_all()).await;
        tasks.close();
        // A driver ends with its last call, and each call has a time limit.
        let _timed_out = timeout(SHUTDOWN_STEP_TIMEOUT, tasks.wait()).await;
        state.post_mortem.record_clean_exit();
        telemetry.flush().await;
        result
    }

    /// Loads the plugins in a task, until the host stops. The receiver gets the error if it fails.
    fn start_loading(&self) -> oneshot::Receiver<anyhow::Error> {
        let (failed, receiver) = oneshot::channel();
        let (state, stopping) = (self.state.clone(), self.stopping.clone());
        let first = self.first.clone();
        self.tasks.spawn(async move {
            let loaded = tokio::select! {
                loaded = startup::load_plugins(&state, &first) => loaded,
                () = stopping.cancelled() => Ok(()),
            };
            if let Err(error) = loaded {
                // Nobody receives it when the host stops already.
                let _ = failed.send(error);
            }
        });
        receiver
    }

    /// Starts the tasks that run next to the servers: the sampler, the watch of the plugins folder
    /// and the writer of the post-mortem. The first two end with `stopping`. The writer goes on
    /// during the drain, in case the host is killed then, and is returned to be aborted after it.
    fn start_background_tasks(&self) -> AbortHandle {
        let (state, stopping) = (self.state.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let sampler = sampler::run(
                state.monitor.clone(),
                state.registry.clone(),
                state.heaps.clone(),
                || {
                    state.drop_unloaded();
                    state.requests()
                },
            );
            tokio::select! { () = sampler => {}, () = stopping.cancelled() => {} }
        });
        let watch = Registry::follow_folder(self.state.registry.clone(), self.stopping.clone());
        self.tasks.spawn(watch);
        let post_mortem_writer = admin_api::post_mortem::record_until_stopped(self.state.clone());
        self.tasks.spawn(post_mortem_writer).abort_handle()
    }
}

impl Listeners {
    /// Prints the addresses. Scripts read these lines to learn the ports.
    fn announce(&self) -> std::io::Result<()> {
        let mut lines = format!(
            "leak-host listening on http://{}\n",
            self.service.local_addr()?
        );
        if let Some(admin) = &self.admin {
            lines += &format!("leak-host admin API on http://{}\n", admin.local_addr()?);
        }
        let mut stdout = std::io::stdout().lock();
        // The service runs, whether somebody reads it or not.
        if let Err(error) = stdout
            .write_all(lines.as_bytes())
            .and_then(|()| stdout.flush())
        {
            tracing::warn!(%error, "the addresses could not be printed");
        }
        Ok(())
    }

    /// Starts one server per listener. A separate admin listener also has the console and the one
    /// service route that the console calls.
    fn serve(
        self,
        state: &Arc<ApiState>,
        console: Router,
        limits: ClientLimits,
        stopping: &CancellationToken,
    ) -> JoinSet<()> {
        let mut servers = JoinSet::new();
        let mut start = |listener: TcpListener, routes: Router| {
            let stopping = stopping.clone();
            servers.spawn(listener::serve(listener, routes, limits, stopping));
        };
        match self.admin {
            None => start(self.service, admin_api::app(state, console)),
            Some(listener) => {
                start(self.service, admin_api::service_app(state));
                start(listener, admin_api::admin_app(state, console));
            }
        }
        servers
    }
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next signal.
    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
        }
    }
}

/// Waits until the servers have answered the requests in progress.
async fn drain(servers: &mut JoinSet<()>) {
    let all_ended = async { while servers.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, all_ended).await.is_err() {
        let seconds = DRAIN_TIMEOUT.as_secs();
        tracing::warn!("connections still open after {seconds} s: closing them");
        servers.abort_all();
    }
}
