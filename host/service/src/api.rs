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

pub(crate) mod auth;
mod body;
pub(crate) mod conformance;
mod data;
mod diff;
mod docs;
pub(crate) mod error;
mod health;
pub(crate) mod heap_query;
mod leak_status;
mod leaks;
mod memory;
mod metrics;
pub(crate) mod name;
mod observe;
pub(crate) mod overview;
mod plugins;
pub(crate) mod post_mortem;
pub(crate) mod profile;
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

use crate::config::Config;
use crate::heap::Heaps;
use crate::heap::baselines::Baselines;
use crate::monitor::Monitor;
use crate::plugin::registry::Registry;
use crate::post_mortem::PostMortem;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Tracer;

/// Bytes that a request's body may have.
const BODY_MAX: usize = 64 << 10;

/// What the handlers work on.
pub(crate) struct Lab {
    /// The plugins.
    pub(crate) registry: Arc<Registry>,
    /// The memory of the process.
    pub(crate) monitor: Arc<Monitor>,
    /// Their heaps by source line.
    pub(crate) heaps: Arc<Heaps>,
    /// What heaps are compared with.
    baselines: Baselines,
    /// Held while a component is checked: one at a time.
    checking: Semaphore,
    deadline: Duration,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// What outlives this process.
    pub(crate) post_mortem: PostMortem,
    service_name: String,
    tracer: Tracer,
    base_latency: Duration,
    /// Time that a client may take for the next part of a request.
    pub(crate) client_timeout: Duration,
    admin_token: Option<String>,
    /// Where the sources of plugins are.
    source_root: Option<PathBuf>,
    requests: AtomicU64,
}

impl Lab {
    /// The state of a host that has served nothing yet.
    pub(crate) fn new(
        config: &Config,
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
            deadline: config.plugin_deadline,
            metrics,
            post_mortem,
            service_name: config.service_name.clone(),
            tracer,
            base_latency: config.base_latency,
            client_timeout: config.client_timeout,
            admin_token: config.admin_token.clone().filter(|t| !t.is_empty()),
            source_root: config.source_root.clone(),
            requests: AtomicU64::new(0),
        }
    }

    /// Drops what is kept of plugins that are not loaded any more.
    pub(crate) fn forget_unloaded(&self) {
        let plugins = self.registry.plugins();
        self.baselines.keep_only(&plugins);
        self.heaps.keep_only(&plugins);
    }

    /// Requests to `/api/data` since the start.
    pub(crate) fn requests(&self) -> u64 {
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
pub(crate) fn service(lab: Arc<Lab>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health::health))
        .routes(routes!(data::data))
        .routes(routes!(metrics::metrics))
        .with_state(lab)
}

/// The one route that the console needs of the service, for an admin API that has a port of its own.
pub(crate) fn traffic(lab: Arc<Lab>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(data::data))
        .with_state(lab)
}

/// The routes of the admin API.
pub(crate) fn admin(lab: Arc<Lab>) -> OpenApiRouter {
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
pub(crate) fn finish(routes: OpenApiRouter, lab: &Arc<Lab>) -> Router {
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
