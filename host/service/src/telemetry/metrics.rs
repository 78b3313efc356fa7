//! The service's instruments, defined once and shown three ways: Prometheus text, OpenMetrics, OTLP.
//!
//! Each part registers a typed struct on the registry it is given; there is no global registry and no
//! lookup by name. Whoever measures on the way of a request holds handles that are resolved already.
//! Labels come from closed sets: plugins, routes, methods, statuses, source lines (the few that grow
//! most), never from a request.

mod exposition;
pub(super) mod family;
mod http;
mod memory;
mod openmetrics;
mod plugins;
mod process;
mod registered;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

pub(crate) use exposition::Exposition;
use family::{About, AnyFamily};
pub(crate) use http::HttpMetrics;
pub(super) use http::method_label;
pub(crate) use memory::{GrowthMetrics, GrowthOf, LedgerMetrics};
pub(crate) use plugins::{
    InvocationOutcome, PluginHandles, PluginMetrics, PluginState, RecycleReason, SiteBytes,
    TrapReason,
};
pub(crate) use process::ProcessMetrics;
use registered::Registered;

/// Every instrument of the service.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Requests.
    pub(crate) http: HttpMetrics,
    /// Plugins, by plugin.
    pub(crate) plugins: PluginMetrics,
    /// The process.
    pub(crate) process: ProcessMetrics,
    /// Growth and forecast, of the process and by plugin.
    pub(crate) growth: GrowthMetrics,
    /// The parts of resident memory.
    pub(crate) ledger: LedgerMetrics,
    registered: Registered,
    /// The length of the last page: the next one is about as long.
    page_bytes: AtomicUsize,
}

impl Metrics {
    /// Registers everything on a registry of its own.
    ///
    /// # Errors
    /// When two instruments share a name or a name is not valid: a mistake in the program, not in its
    /// use.
    pub(crate) fn new(
        service: &str,
        version: &str,
        revision: &str,
    ) -> Result<Self, prometheus::Error> {
        let registry = Registered::default();
        let build = About::new(
            "leak_build_info",
            "Always 1; its labels say what was built.",
        );
        let build = build.constant("version", version);
        let build = build.constant("revision", revision);
        registry.single::<IntGauge>(build)?.set(1);
        Ok(Self {
            http: HttpMetrics::register(&registry, service)?,
            plugins: PluginMetrics::register(&registry)?,
            process: ProcessMetrics::register(&registry)?,
            growth: GrowthMetrics::register(&registry)?,
            ledger: LedgerMetrics::register(&registry)?,
            registered: registry,
            page_bytes: AtomicUsize::new(0),
        })
    }

    /// Every family that has series now, in the order of their names.
    pub(crate) fn families(&self) -> Vec<Arc<dyn AnyFamily>> {
        self.registered.families()
    }

    /// Forgets a plugin and all its series.
    pub(crate) fn remove_plugin(&self, plugin: &str) {
        self.plugins.remove_plugin(plugin);
        self.growth.remove_plugin(plugin);
    }

    /// Everything in the format that a scraper's `Accept` header asks for.
    pub(crate) fn render(&self, accept: Option<&str>) -> Exposition {
        let about = self.page_bytes.load(Ordering::Relaxed);
        let page = Exposition::negotiate(&self.families(), accept, about);
        self.page_bytes.store(page.body.len(), Ordering::Relaxed);
        page
    }
}

/// Prometheus numbers are signed: no count here comes near 2^63.
fn gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
