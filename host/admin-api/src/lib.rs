//! The HTTP side: routes, wire types, and the one place that turns errors into statuses.
//!
//! | path | what |
//! |---|---|
//! | `/health`, `/api/data` | the service |
//! | `/metrics` | Prometheus text, or OpenMetrics |
//! | `/openapi.json`, `/docs` | this API, described from the code |
//! | `/admin/leaks/…`, `/admin/reset`, `/admin/gc` | switching, clearing, resetting leaks |
//! | `/admin/memory` | the process and the plugins |
//! | `/admin/memory/snapshot`, `diff`, `baselines`, `history`, `flamegraph` | live bytes by source line |
//! | `/debug/pprof/heap` | the same for pprof |
//! | `/admin/post-mortem` | what held the memory when the host died the last time |
//! | `/admin/memory/source` | the source around a line that a heap names |
//! | `/admin/plugins` | what is loaded; loading, replacing, unloading and checking |
//!
//! Nothing here knows of wasmtime. Wire types live here; the domain does not serialise itself.

pub mod auth;
mod body;
pub mod conformance;
mod data;
mod diff;
mod docs;
pub mod error;
mod health;
pub mod heap_query;
mod leak_status;
mod leaks;
mod memory;
mod metrics;
pub mod name;
mod observe;
pub mod overview;
mod plugins;
pub mod post_mortem;
pub mod profile;
mod size;
mod snapshot;
mod source;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::middleware;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use lab::heap::Heaps;
use lab::heap::baselines::Baselines;
use lab::metrics::Metrics;
use lab::monitor::Monitor;
use lab::post_mortem::PostMortem;
use plugin_host::registry::Registry;
use telemetry::traces::Tracer;

/// Bytes that a request's body may have.
const BODY_MAX: usize = 64 << 10;

/// The options of the command line that the API needs.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The name in `service` of every answer and in the metrics' label.
    pub service_name: String,
    /// The least time that an answer of `/api/data` takes.
    pub base_latency: Duration,
    /// Time that a client may take for the next part of a request.
    pub client_timeout: Duration,
    /// Time limit of one call into a plugin.
    pub plugin_deadline: Duration,
    /// The token that calls to the admin API must bring; an empty one counts as none.
    pub admin_token: Option<String>,
    /// The checkout that the plugins were built from.
    pub source_root: Option<PathBuf>,
}

/// What the handlers work on.
pub struct Lab {
    /// The plugins.
    pub registry: Arc<Registry>,
    /// The memory of the process.
    pub monitor: Arc<Monitor>,
    /// Their heaps by source line.
    pub heaps: Arc<Heaps>,
    /// What heaps are compared with.
    baselines: Baselines,
    /// Held while a component is checked: one at a time.
    checking: Semaphore,
    deadline: Duration,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What outlives this process.
    pub post_mortem: PostMortem,
    service_name: String,
    tracer: Tracer,
    base_latency: Duration,
    /// Time that a client may take for the next part of a request.
    pub client_timeout: Duration,
    admin_token: Option<String>,
    /// Where the sources of plugins are.
    source_root: Option<PathBuf>,
    requests: AtomicU64,
}

impl Lab {
    /// The state of a host that has served nothing yet.
    pub fn new(
        options: ApiOptions,
        registry: Arc<Registry>,
        monitor: Arc<Monitor>,
        heaps: Arc<Heaps>,
        metrics: Arc<Metrics>,
        post_mortem: PostMortem,
        tracer: Tracer,
    ) -> Self {
        Lab {
            registry,
            monitor,
            heaps,
            baselines: Baselines::default(),
            checking: Semaphore::new(1),
            deadline: options.plugin_deadline,
            metrics,
            post_mortem,
            service_name: options.service_name,
            tracer,
            base_latency: options.base_latency,
            client_timeout: options.client_timeout,
            admin_token: options.admin_token.filter(|t| !t.is_empty()),
            source_root: options.source_root,
            requests: AtomicU64::new(0),
        }
    }

    /// Drops what is kept of plugins that are not loaded any more.
    pub fn forget_unloaded(&self) {
        let plugins = self.registry.plugins();
        self.baselines.retain_loaded(&plugins);
        self.heaps.retain_loaded(&plugins);
    }

    /// Requests to `/api/data` since the start.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Leak lab",
        description = "A service that leaks on purpose, and the admin API to switch, measure and mend its leaks. \
                       Sizes in `*_mb` are bytes / 1048576; each has a sibling `*_bytes`."
    ),
    tags(
        (name = "service", description = "What a client of the leaky service calls"),
        (name = "leaks", description = "Switch, clear and reset leaks"),
        (name = "memory", description = "Where the memory is"),
        (name = "plugins", description = "What is loaded"),
    )
)]
struct Description;

/// The routes of the service itself.
pub fn service(lab: Arc<Lab>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health::health))
        .routes(routes!(data::data))
        .routes(routes!(metrics::metrics))
        .with_state(lab)
}

/// The one route that the console needs of the service, for an admin API that has a port of its own.
pub fn traffic(lab: Arc<Lab>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(data::data))
        .with_state(lab)
}

/// The routes of the admin API.
pub fn admin(lab: Arc<Lab>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(leaks::status))
        .routes(routes!(leaks::clear))
        .routes(routes!(leaks::show, leaks::switch))
        .routes(routes!(leaks::reset))
        .routes(routes!(leaks::reset_all))
        .routes(routes!(leaks::collect))
        .routes(routes!(memory::memory))
        .routes(routes!(snapshot::snapshot))
        .routes(routes!(diff::diff))
        .routes(routes!(diff::list_baselines))
        .routes(routes!(diff::put_baseline, diff::delete_baseline))
        .routes(routes!(snapshot::history))
        .routes(routes!(profile::flamegraph))
        .routes(routes!(profile::pprof))
        .routes(routes!(post_mortem::post_mortem))
        .routes(routes!(source::source))
        .routes(routes!(plugins::list))
        .routes(routes!(conformance::check))
        .routes(routes!(plugins::show, upload::put, upload::delete))
        .routes(routes!(upload::reload))
        .layer(middleware::from_fn_with_state(
            lab.clone(),
            auth::require_token,
        ))
        .with_state(lab)
}

/// Adds what every listener has: the description, JSON errors, limits, measurement.
pub fn finish(routes: OpenApiRouter, lab: &Arc<Lab>) -> Router {
    let (router, description) = routes.split_for_parts();
    router
        .merge(docs::routes(description))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        // As one layer, the first outermost: each call of `layer` would box every request and every answer once more.
        .layer((
            middleware::from_fn_with_state(lab.clone(), observe::measure),
            CatchPanicLayer::custom(error::panicked),
        ))
}
