//! Growth, forecast and ledger, as the host worked them out.

use prometheus::{Gauge, IntGauge};

use crate::growth::Growth;
use crate::ledger::Ledger;
use telemetry::metrics::family::{Family, MetricDesc};
use telemetry::metrics::{MetricsRegistry, gauge_value};

/// What a growth is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrowthOf<'a> {
    /// Resident memory of the process: series without a plugin.
    Process,
    /// Memory of one plugin.
    Plugin(&'a str),
}

impl<'a> GrowthOf<'a> {
    /// An empty label is one that is not there.
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
pub struct GrowthMetrics {
    bytes_per_second: Family<Gauge>,
    bytes_per_request: Family<Gauge>,
    seconds_to_limit: Family<Gauge>,
    limit_bytes: Family<IntGauge>,
}

impl GrowthMetrics {
    pub(crate) fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        let about = |name, help| MetricDesc::new(name, help).labels(&["plugin"]);
        let gauge = |name, help| registry.family(about(name, help));
        let metrics = Self {
            bytes_per_second: gauge(
                "leak_memory_growth_bytes_per_second",
                "Slope of memory over the host's last minute of samples; without a plugin, of the process.",
            )?,
            bytes_per_request: gauge(
                "leak_memory_bytes_per_request",
                "Slope of memory over requests in the last minute; NaN while there are no requests.",
            )?,
            seconds_to_limit: gauge(
                "leak_memory_seconds_to_limit",
                "Time until the limit is reached if growth goes on; +Inf when it is not in sight.",
            )?,
            limit_bytes: registry.family(about(
                "leak_memory_limit_bytes",
                "The memory limit that applies; absent without one.",
            ))?,
        };
        metrics.show(GrowthOf::Process, 0.0, None, None, None);
        Ok(metrics)
    }

    /// Shows a growth, and when the limit that applies, in bytes, is reached. Of a plugin that is not the growth's limit:
    /// what it retains grows, and its linear memory is limited.
    pub fn update(
        &self,
        of: GrowthOf<'_>,
        growth: &Growth,
        seconds_to_limit: Option<f64>,
        limit_bytes: Option<u64>,
    ) {
        self.show(
            of,
            growth.bytes_per_second,
            growth.bytes_per_request,
            seconds_to_limit,
            limit_bytes,
        );
    }

    /// Forgets a plugin.
    pub fn remove_plugin(&self, plugin: &str) {
        let label = GrowthOf::Plugin(plugin).label();
        self.bytes_per_second.remove(&label);
        self.bytes_per_request.remove(&label);
        self.seconds_to_limit.remove(&label);
        self.limit_bytes.remove(&label);
    }

    fn show(
        &self,
        of: GrowthOf<'_>,
        bytes_per_second: f64,
        bytes_per_request: Option<f64>,
        seconds_to_limit: Option<f64>,
        limit_bytes: Option<u64>,
    ) {
        let label = of.label();
        for (gauge, value) in [
            (&self.bytes_per_second, bytes_per_second),
            (
                &self.bytes_per_request,
                bytes_per_request.unwrap_or(f64::NAN),
            ),
            (
                &self.seconds_to_limit,
                seconds_to_limit.unwrap_or(f64::INFINITY),
            ),
        ] {
            if let Ok(gauge) = gauge.series(&label) {
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
}

/// `leak_memory_ledger_bytes`, one series per part.
#[derive(Debug)]
pub struct LedgerMetrics(Family<IntGauge>);

impl LedgerMetrics {
    pub(crate) fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        let about = MetricDesc::new(
            "leak_memory_ledger_bytes",
            "Resident memory by part; the parts add up to it. Unattributed may be negative.",
        );
        let metrics = Self(registry.family(about.labels(&["part"]))?);
        metrics.update(&Ledger::balance(&Default::default()));
        Ok(metrics)
    }

    /// Shows a ledger.
    pub fn update(&self, ledger: &Ledger) {
        for (part, bytes) in ledger.entries() {
            if let Ok(gauge) = self.0.series(&[part.name()]) {
                gauge.set(bytes);
            }
        }
    }
}
