//! Every metric of the host, registered on one registry.

mod memory;
mod process;

use std::sync::Arc;

use plugin_host::metrics::PluginMetrics;
use prometheus::IntGauge;
use telemetry::metrics::family::{AnyFamily, MetricDesc};
use telemetry::metrics::{Exposition, HttpMetrics, MetricsRegistry};

pub use memory::{GrowthMetrics, GrowthOf, LedgerMetrics};
pub use process::ProcessMetrics;

/// Every metric of the host.
#[derive(Debug)]
pub struct Metrics {
    /// HTTP requests.
    pub http: HttpMetrics,
    /// Plugins, by plugin.
    pub plugins: Arc<PluginMetrics>,
    /// The process.
    pub process: ProcessMetrics,
    /// Growth and forecast, of the process and by plugin.
    pub growth: GrowthMetrics,
    /// The parts of resident memory.
    pub ledger: LedgerMetrics,
    registry: MetricsRegistry,
}

impl Metrics {
    /// Registers everything on a registry of its own.
    ///
    /// # Errors
    ///
    /// When two metrics share a name or a name is not valid: a mistake in the program, not in its use.
    pub fn new(service: &str, version: &str, revision: &str) -> Result<Self, prometheus::Error> {
        let registry = MetricsRegistry::default();
        let build = MetricDesc::new(
            "leak_build_info",
            "Always 1; its labels say what was built.",
        );
        let build = build.const_label("version", version);
        let build = build.const_label("revision", revision);
        registry.single::<IntGauge>(build)?.set(1);
        Ok(Self {
            http: HttpMetrics::register(&registry, service)?,
            plugins: Arc::new(PluginMetrics::register(&registry)?),
            process: ProcessMetrics::register(&registry)?,
            growth: GrowthMetrics::register(&registry)?,
            ledger: LedgerMetrics::register(&registry)?,
            registry,
        })
    }

    /// Every family that has series now, in the order of their names.
    pub fn families(&self) -> Vec<Arc<dyn AnyFamily>> {
        self.registry.families()
    }

    /// Removes all series of a plugin.
    pub fn remove_plugin(&self, plugin: &str) {
        self.plugins.remove_plugin(plugin);
        self.growth.remove_plugin(plugin);
    }

    /// Everything in the format that a scraper's `Accept` header asks for.
    pub fn render(&self, accept: Option<&str>) -> Exposition {
        self.registry.render(accept)
    }
}

#[cfg(test)]
mod tests;
