//! Metrics of growth, forecast and ledger.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{Gauge, IntGauge};

use crate::forecast::Forecast;
use crate::ledger::Ledger;
use telemetry::metrics::family::{Family, MetricDesc};
use telemetry::metrics::{MetricsRegistry, gauge_value};

/// The owner of the memory that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrowthOf<'a> {
    /// Resident memory of the process: series without the label `plugin`.
    Process,
    /// Memory of the plugin with this id.
    Plugin(&'a str),
}

impl<'a> GrowthOf<'a> {
    /// Prometheus treats an empty label as a missing one.
    fn label(self) -> [&'a str; 1] {
        match self {
            Self::Process => [""],
            Self::Plugin(plugin) => [plugin],
        }
    }
}

/// `leak_memory_growth_bytes_per_second`, `leak_memory_bytes_per_request`,
/// `leak_memory_seconds_to_limit`, `leak_memory_limit_bytes`.
#[derive(Debug)]
pub(crate) struct GrowthMetrics {
    bytes_per_second: Family<Gauge>,
    bytes_per_request: Family<Gauge>,
    seconds_to_limit: Family<Gauge>,
    limit_bytes: Family<IntGauge>,
    /// Ids of the plugins that have series. Locked while series are added or removed.
    plugins: Mutex<BTreeSet<String>>,
}

impl GrowthMetrics {
    pub(crate) fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        let about = |name, help| MetricDesc::new(name, help).labels(&["plugin"]);
        let gauge = |name, help| registry.family(about(name, help));
        let metrics = Self {
            bytes_per_second: gauge(
                "leak_memory_growth_bytes_per_second",
                "Growth of memory over the last minute; without a plugin, of the process.",
            )?,
            bytes_per_request: gauge(
                "leak_memory_bytes_per_request",
                "Growth of memory per request over the last minute; NaN without requests.",
            )?,
            seconds_to_limit: gauge(
                "leak_memory_seconds_to_limit",
                "Time until the limit if the growth continues; +Inf without a limit or without significant growth.",
            )?,
            limit_bytes: registry.family(about(
                "leak_memory_limit_bytes",
                "The memory limit that applies; absent without one.",
            ))?,
            plugins: Mutex::default(),
        };
        metrics.update(GrowthOf::Process, &Forecast::default(), None);
        Ok(metrics)
    }

    /// Sets the series of the process or of one plugin. A plugin's growth is that of its retained
    /// bytes. Its time to the limit uses the growth of linear memory or, with a collector, of the
    /// floor.
    pub(crate) fn update(&self, of: GrowthOf<'_>, forecast: &Forecast, limit_bytes: Option<u64>) {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let GrowthOf::Plugin(plugin) = of
            && !plugins.contains(plugin)
        {
            plugins.insert(plugin.to_owned());
        }
        let Forecast {
            growth,
            seconds_to_limit,
            next_step: _,
            floor_bytes: _,
        } = forecast;
        let bytes_per_request = growth.bytes_per_request.unwrap_or(f64::NAN);
        let seconds_to_limit = seconds_to_limit.unwrap_or(f64::INFINITY);
        let label = of.label();
        for (family, value) in [
            (&self.bytes_per_second, growth.bytes_per_second),
            (&self.bytes_per_request, bytes_per_request),
            (&self.seconds_to_limit, seconds_to_limit),
        ] {
            if let Ok(gauge) = family.series(&label) {
                gauge.set(value);
            }
        }
        match limit_bytes {
            Some(bytes) => {
                if let Ok(gauge) = self.limit_bytes.series(&label) {
                    gauge.set(gauge_value(bytes));
                }
            }
            None => self.limit_bytes.remove(&label),
        }
    }

    /// Removes the series of all plugins that are not loaded.
    pub(crate) fn retain_plugins(&self, is_loaded: impl Fn(&str) -> bool) {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.retain(|plugin| {
            let keep = is_loaded(plugin);
            if !keep {
                self.remove_series(plugin);
            }
            keep
        });
    }

    fn remove_series(&self, plugin: &str) {
        let label = GrowthOf::Plugin(plugin).label();
        self.bytes_per_second.remove(&label);
        self.bytes_per_request.remove(&label);
        self.seconds_to_limit.remove(&label);
        self.limit_bytes.remove(&label);
    }
}

/// `leak_memory_ledger_bytes`, one series per part.
#[derive(Debug)]
pub(crate) struct LedgerMetrics(Family<IntGauge>);

impl LedgerMetrics {
    pub(crate) fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        let about = MetricDesc::new(
            "leak_memory_ledger_bytes",
            "Resident memory by part; the parts add up to it.",
        );
        let metrics = Self(registry.family(about.labels(&["part"]))?);
        metrics.update(&Ledger::balance(&Default::default()));
        Ok(metrics)
    }

    /// Sets the series of all parts.
    pub(crate) fn update(&self, ledger: &Ledger) {
        for (part, bytes) in ledger.entries() {
            if let Ok(gauge) = self.0.series(&[part.name()]) {
                gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
    }
}
