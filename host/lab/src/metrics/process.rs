//! Metrics of the process: the names of Prometheus's own client libraries, and `leak_host_tasks`.

use prometheus::{Counter, Gauge, IntGauge};

use process_memory::process::ProcessReading;
use telemetry::metrics::family::MetricDesc;
use telemetry::metrics::{MetricsRegistry, gauge_value};

/// `process_*` and `leak_host_tasks`.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
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
                "Address space of the process; WebAssembly reserves most of it and never touches it.",
            )?,
            cpu_seconds: registry.single(MetricDesc::new(
                "process_cpu_seconds_total",
                "User and system CPU time of the process.",
            ))?,
            open_fds: gauge("process_open_fds", "Open file descriptors.")?,
            start_time_seconds: registry.single(MetricDesc::new(
                "process_start_time_seconds",
                "Start time of the process, in seconds since 1970.",
            ))?,
            tasks: gauge(
                "leak_host_tasks",
                "Running tasks of the host: plugins, connections, background work.",
            )?,
        })
    }

    /// Sets the gauges from a reading, and the number of tasks from the current runtime, if there
    /// is one.
    pub(crate) fn update(&self, reading: &ProcessReading) {
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
