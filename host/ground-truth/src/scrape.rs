//! What a scrape of the simulated host has, in the host's metric names and labels.
//!
//! Left out are series that depend on the machine or on real time: durations, CPU, descriptors, the
//! ledger, and the host's own forecasts (`leak_memory_growth_bytes_per_second`,
//! `leak_memory_seconds_to_limit`, `leak_memory_bytes_per_request`).

/// What one scrape has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// Resident memory of the process, in bytes: that of a host without plugins, and the linear
    /// memories.
    pub resident_bytes: u64,
    /// The start of the process, in seconds from the start of the simulation.
    pub started_seconds: u64,
    /// Requests that the process has answered.
    pub requests: u64,
    /// The plugins, in the order of the plan.
    pub plugins: Vec<PluginScrape>,
}

/// One plugin in a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginScrape {
    /// Bytes that its allocator handed out and did not get back.
    pub live_bytes: u64,
    /// The part of them that collections leave.
    pub floor_bytes: u64,
    /// Bytes of linear memory.
    pub linear_bytes: u64,
    /// Bytes that the pattern retains by its own account.
    pub retained_bytes: u64,
    /// Objects that the pattern retains.
    pub retained_objects: u64,
    /// Calls that succeeded since the start of the process.
    pub calls: u64,
    /// Calls that failed since the start of the process.
    pub failed_calls: u64,
    /// Whether the host can call it.
    pub state: State,
    /// Whether its leak is switched on.
    pub enabled: bool,
    /// The limit of its linear memory, in bytes.
    pub limit_bytes: u64,
}

/// The state of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The host calls it.
    Running,
    /// It used up its memory.
    Exhausted,
    /// It trapped.
    Faulted,
}

/// Gauge or counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// A value that goes up and down.
    Gauge,
    /// A value that only goes up, and begins again at 0 with each process.
    Counter,
}

/// A series of the process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessMetric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// Its labels other than `job` and `instance`.
    pub labels: &'static [(&'static str, &'static str)],
    /// Its value. The second argument is the time of the start of the simulation, in seconds since
    /// 1970.
    pub value: fn(&Scrape, u64) -> u64,
}

/// A series of each plugin.
#[derive(Debug, Clone, Copy)]
pub struct PluginMetric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// Its labels other than `job`, `instance` and `plugin`.
    pub labels: &'static [(&'static str, &'static str)],
    /// Its value.
    pub value: fn(&PluginScrape) -> u64,
}

/// The resident memory of a host without plugins, in bytes: about what a real one has.
pub const HOST_BYTES: u64 = 30 << 20;

/// The memory limit of the process in bytes, as in the lab. At this size the process is killed.
pub const PROCESS_LIMIT_BYTES: u64 = 256 << 20;

const fn process(name: &'static str, value: fn(&Scrape, u64) -> u64) -> ProcessMetric {
    ProcessMetric {
        name,
        kind: MetricType::Gauge,
        labels: &[],
        value,
    }
}

const fn plugin(name: &'static str, value: fn(&PluginScrape) -> u64) -> PluginMetric {
    PluginMetric {
        name,
        kind: MetricType::Gauge,
        labels: &[],
        value,
    }
}

/// The series of the process. Prometheus adds `up`.
pub const PROCESS_METRICS: &[ProcessMetric] = &[
    process("process_resident_memory_bytes", |s, _| s.resident_bytes),
    process("process_start_time_seconds", |s, start| {
        start + s.started_seconds
    }),
    process("leak_memory_limit_bytes", |_, _| PROCESS_LIMIT_BYTES),
    ProcessMetric {
        name: "http_requests_total",
        kind: MetricType::Counter,
        labels: &[
            ("service", "leaky-service"),
            ("method", "GET"),
            ("endpoint", "/api/data"),
            ("status", "200"),
        ],
        value: |s, _| s.requests,
    },
];

/// The series of each plugin.
pub const PLUGIN_METRICS: &[PluginMetric] = &[
    plugin("leak_enabled", |p| u64::from(p.enabled)),
    plugin("leak_active", |p| u64::from(p.enabled)),
    plugin("leak_retained_objects", |p| p.retained_objects),
    plugin("leak_retained_bytes", |p| p.retained_bytes),
    plugin("leak_plugin_linear_memory_bytes", |p| p.linear_bytes),
    plugin("leak_plugin_heap_live_bytes", |p| p.live_bytes),
    plugin("leak_plugin_heap_floor_bytes", |p| p.floor_bytes),
    plugin("leak_plugin_memory_limit_bytes", |p| p.limit_bytes),
    plugin("leak_memory_limit_bytes", |p| p.limit_bytes),
    PluginMetric {
        labels: &[("state", "running")],
        ..plugin("leak_plugin_state", |p| is(p, State::Running))
    },
    PluginMetric {
        labels: &[("state", "exhausted")],
        ..plugin("leak_plugin_state", |p| is(p, State::Exhausted))
    },
    PluginMetric {
        labels: &[("state", "faulted")],
        ..plugin("leak_plugin_state", |p| is(p, State::Faulted))
    },
    PluginMetric {
        labels: &[("outcome", "ok")],
        kind: MetricType::Counter,
        ..plugin("leak_plugin_invocations_total", |p| p.calls)
    },
    PluginMetric {
        labels: &[("outcome", "error")],
        kind: MetricType::Counter,
        ..plugin("leak_plugin_invocations_total", |p| p.failed_calls)
    },
];

fn is(plugin: &PluginScrape, state: State) -> u64 {
    u64::from(plugin.state == state)
}
