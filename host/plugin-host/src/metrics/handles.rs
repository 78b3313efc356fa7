//! One plugin's instruments, resolved: counting costs an atomic operation and no lookup.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use telemetry::metrics::family::Family;
use telemetry::metrics::gauge_value;

use super::{Families, InvocationOutcome, PluginState, RecycleReason, TrapReason};

/// The instruments of one plugin.
#[derive(Debug)]
pub struct PluginHandles {
    plugin: String,
    enabled: IntGauge,
    retained_objects: IntGauge,
    retained_bytes: IntGauge,
    linear_memory_bytes: IntGauge,
    linear_memory_peak_bytes: IntGauge,
    /// The family: a plugin whose heap is not known has no series in it.
    heap_live_bytes: Family<IntGauge>,
    memory_limit_bytes: IntGauge,
    generation: IntGauge,
    profiler_bytes: IntGauge,
    attribution_overflow: IntCounter,
    memory_grow: IntCounter,
    memory_grow_denied: IntCounter,
    clears: IntCounter,
    invocation_live_bytes: Histogram,
    states: Vec<IntGauge>,
    traps: Vec<IntCounter>,
    recycles: Vec<IntCounter>,
    invocations: Vec<IntCounter>,
    /// By outcome; made at the first one, since most never happen and each is 18 series.
    invocation_durations: Vec<OnceLock<Histogram>>,
    durations: Family<Histogram>,
    /// Whether the plugin is gone: then no series is made any more.
    closed: Mutex<bool>,
}

impl PluginHandles {
    pub(super) fn resolve(families: &Families, plugin: &str) -> Result<Self, prometheus::Error> {
        let label = [plugin];
        let handles = Self {
            plugin: plugin.to_owned(),
            enabled: families.enabled.series(&label)?,
            retained_objects: families.retained_objects.series(&label)?,
            retained_bytes: families.retained_bytes.series(&label)?,
            linear_memory_bytes: families.linear_memory_bytes.series(&label)?,
            linear_memory_peak_bytes: families.linear_memory_peak_bytes.series(&label)?,
            heap_live_bytes: families.heap_live_bytes.clone(),
            memory_limit_bytes: families.memory_limit_bytes.series(&label)?,
            generation: families.generation.series(&label)?,
            profiler_bytes: families.profiler_bytes.series(&label)?,
            attribution_overflow: families.attribution_overflow.series(&label)?,
            memory_grow: families.memory_grow.series(&label)?,
            memory_grow_denied: families.memory_grow_denied.series(&label)?,
            clears: families.clears.series(&label)?,
            invocation_live_bytes: families.invocation_live_bytes.series(&label)?,
            states: PluginState::ALL
                .iter()
                .map(|state| families.state.series(&[plugin, state.label()]))
                .collect::<Result<_, _>>()?,
            traps: TrapReason::ALL
                .iter()
                .map(|reason| families.traps.series(&[plugin, reason.label()]))
                .collect::<Result<_, _>>()?,
            recycles: RecycleReason::ALL
                .iter()
                .map(|reason| families.recycles.series(&[plugin, reason.label()]))
                .collect::<Result<_, _>>()?,
            invocations: InvocationOutcome::ALL
                .iter()
                .map(|outcome| families.invocations.series(&[plugin, outcome.label()]))
                .collect::<Result<_, _>>()?,
            invocation_durations: InvocationOutcome::ALL
                .iter()
                .map(|_| OnceLock::new())
                .collect(),
            durations: families.invocation_durations.clone(),
            closed: Mutex::new(false),
        };
        handles.duration_of(InvocationOutcome::Ok);
        handles.set_state(PluginState::Running);
        Ok(handles)
    }

    /// The plugin is gone. A call that is still in flight counts unseen.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Whether the leak is switched on.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.set(i64::from(enabled));
    }

    /// What the pattern holds.
    pub fn set_retained(&self, objects: u64, bytes: u64) {
        self.retained_objects.set(gauge_value(objects));
        self.retained_bytes.set(gauge_value(bytes));
    }

    /// Linear memory now and at most, in bytes.
    pub fn set_linear_memory(&self, bytes: u64, peak_bytes: u64) {
        self.linear_memory_bytes.set(gauge_value(bytes));
        self.linear_memory_peak_bytes.set(gauge_value(peak_bytes));
    }

    /// What the guest's allocator has handed out, in bytes; without attribution nobody knows, and no series says 0.
    pub fn set_heap_live(&self, bytes: Option<u64>) {
        let label = [self.plugin.as_str()];
        match bytes {
            Some(bytes) => {
                if let Ok(gauge) = self.heap_live_bytes.series(&label) {
                    gauge.set(gauge_value(bytes));
                }
            }
            None => self.heap_live_bytes.remove(&label),
        }
    }

    /// The most linear memory it may have, in bytes: its own limit, else what wasm allows.
    pub fn set_memory_limit(&self, bytes: u64) {
        self.memory_limit_bytes.set(gauge_value(bytes));
    }

    /// The state it is in.
    pub fn set_state(&self, state: PluginState) {
        for (index, gauge) in self.states.iter().enumerate() {
            gauge.set(i64::from(index == state.index()));
        }
    }

    /// Which instance this is.
    pub fn set_generation(&self, generation: u64) {
        self.generation.set(gauge_value(generation));
    }

    /// Memory of the profiler in this plugin, in bytes.
    pub fn set_profiler(&self, bytes: u64) {
        self.profiler_bytes.set(gauge_value(bytes));
    }

    /// Allocations more that the profiler could not attribute.
    pub fn attribution_overflowed(&self, allocations: u64) {
        self.attribution_overflow.inc_by(allocations);
    }

    /// Linear memory was grown.
    pub fn memory_grew(&self) {
        self.memory_grow.inc();
    }

    /// Growth was refused.
    pub fn memory_grow_denied(&self) {
        self.memory_grow_denied.inc();
    }

    /// What the pattern held was dropped on request.
    pub fn cleared(&self) {
        self.clears.inc();
    }

    /// A trap ended the instance.
    pub fn trapped(&self, reason: TrapReason) {
        if let Some(counter) = self.traps.get(reason.index()) {
            counter.inc();
        }
    }

    /// A fresh instance replaced the last.
    pub fn recycled(&self, reason: RecycleReason) {
        if let Some(counter) = self.recycles.get(reason.index()) {
            counter.inc();
        }
    }

    /// A call ended. `live_bytes_delta` is what it left behind on the guest's heap, when that is known.
    pub fn invoked(
        &self,
        outcome: InvocationOutcome,
        took: Duration,
        live_bytes_delta: Option<i64>,
    ) {
        if let Some(counter) = self.invocations.get(outcome.index()) {
            counter.inc();
        }
        if let Some(histogram) = self.duration_of(outcome) {
            histogram.observe(took.as_secs_f64());
        }
        if let Some(delta) = live_bytes_delta {
            // Clamped: the sum of a histogram must not fall.
            self.invocation_live_bytes.observe(delta.max(0) as f64);
        }
    }

    fn duration_of(&self, outcome: InvocationOutcome) -> Option<&Histogram> {
        let slot = self.invocation_durations.get(outcome.index())?;
        if let Some(histogram) = slot.get() {
            return Some(histogram);
        }
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return None;
        }
        let labels = [self.plugin.as_str(), outcome.label()];
        let histogram = self.durations.series(&labels).ok()?;
        Some(slot.get_or_init(|| histogram))
    }
}
