//! Every metric of the host, registered on one registry.

mod memory;
mod process;
mod visibility;

use std::sync::Arc;

use plugin_host::metrics::PluginMetrics;
use prometheus::IntGauge;
use telemetry::metrics::family::{AnyFamily, MetricDesc};
use telemetry::metrics::{Exposition, HttpMetrics, MetricsRegistry};

pub(crate) use memory::{GrowthMetrics, GrowthOf, LedgerMetrics};
pub(crate) use process::ProcessMetrics;
use visibility::CurrentVisibility;
pub use visibility::MetricsVisibility;

/// Every metric of the host.
#[derive(Debug)]
pub struct Metrics {
    /// HTTP requests.
    pub http: HttpMetrics,
    /// Invocations, memory and faults, by plugin.
    pub plugins: Arc<PluginMetrics>,
    pub(crate) process: ProcessMetrics,
    pub(crate) growth: GrowthMetrics,
    pub(crate) ledger: LedgerMetrics,
    registry: MetricsRegistry,
    visibility: CurrentVisibility,
}

impl Metrics {
    /// Registers all metrics on a new registry. `service` is the label of the HTTP metrics;
    /// `version` and `revision` are labels of `leak_build_info`.
    ///
    /// # Errors
    ///
    /// When two metrics have the same name, or a name is not valid. Both are bugs of the host.
    pub fn new(service: &str, version: &str, revision: &str) -> Result<Self, prometheus::Error> {
        let registry = MetricsRegistry::default();
        let build = MetricDesc::new(
            "leak_build_info",
            "Always 1. The labels name version and revision of the host.",
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
            visibility: CurrentVisibility::default(),
        })
    }

    /// Chooses the metrics that scrapes and exports show from now on.
    pub fn set_visibility(&self, visibility: MetricsVisibility) {
        self.visibility.set(visibility);
    }

    pub(crate) fn visibility(&self) -> MetricsVisibility {
        self.visibility.get()
    }

    /// Every visible family that has series now, in the order of their names. Gauges have the
    /// values of the last [`refresh`](crate::metrics_refresh::refresh).
    pub fn families(&self) -> Vec<Arc<dyn AnyFamily>> {
        let visibility = self.visibility();
        let mut families = self.registry.families();
        families.retain(|family| visibility.shows(family.desc().name));
        families
    }

    /// All visible families in the format that a scraper's `Accept` header asks for. Gauges have
    /// the values of the last [`refresh`](crate::metrics_refresh::refresh).
    pub fn render(&self, accept: Option<&str>) -> Exposition {
        self.registry.render(&self.families(), accept)
    }
}

#[cfg(test)]
mod tests;
