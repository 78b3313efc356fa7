//! The process: the names that Prometheus's own client libraries use, and one of the host's own.

use prometheus::{Counter, Gauge, IntGauge};

use process_memory::process::ProcessReading;
use telemetry::metrics::family::MetricDesc;
use telemetry::metrics::{MetricsRegistry, gauge_value};

/// `process_*`, `leak_host_tasks`.
#[derive(Debug)]
pub struct ProcessMetrics {
    resident_bytes: IntGauge,
    virtual_bytes: IntGauge,
    cpu_seconds: Counter,
    open_fds: IntGauge,
    start_time_seconds: Gauge,
    tasks: IntGauge,
}

impl ProcessMetrics {
    pub(crate) fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| registry.single(MetricDesc::new(name, help));
        Ok(Self {
            resident_bytes: gauge(
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
            )?,
            virtual_bytes: gauge(
                "process_virtual_memory_bytes",
                "Address space of the process, most of which WebAssembly reserves and never touches.",
            )?,
            cpu_seconds: registry.single(MetricDesc::new(
                "process_cpu_seconds_total",
                "User and system CPU time spent.",
            ))?,
            open_fds: gauge("process_open_fds", "Open file descriptors.")?,
            start_time_seconds: registry.single(MetricDesc::new(
                "process_start_time_seconds",
                "When the process started, in seconds since 1970.",
            ))?,
            tasks: gauge(
                "leak_host_tasks",
                "Tasks of the host that have not ended: plugins, connections, what runs in the background.",
            )?,
        })
    }

    /// Shows a reading, and the tasks of the runtime that this is called in.
    pub fn update(&self, reading: &ProcessReading) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.tasks
                .set(gauge_value(runtime.metrics().num_alive_tasks() as u64));
        }
        self.resident_bytes.set(gauge_value(reading.resident_bytes));
        self.virtual_bytes.set(gauge_value(reading.virtual_bytes));
        self.open_fds.set(gauge_value(reading.open_fds));
        self.start_time_seconds.set(reading.start_time_unix_seconds);
        let spent = reading.cpu_seconds_total - self.cpu_seconds.get();
        if spent > 0.0 {
            self.cpu_seconds.inc_by(spent);
        }
    }
}
