//! The instruments of one plugin, looked up once: a count then costs one atomic operation.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use telemetry::metrics::family::Family;
use telemetry::metrics::gauge_value;

use crate::metrics::families::Families;
use crate::metrics::labels::{
    AttributionState, InvocationOutcome, PluginState, RecycleReason, TrapReason,
};

/// The instruments of one plugin.
#[derive(Debug)]
pub struct PluginSeries {
    plugin: String,
    enabled: IntGauge,
    active: IntGauge,
    retained_objects: IntGauge,
    retained_bytes: IntGauge,
    linear_memory_bytes: IntGauge,
    linear_memory_peak_bytes: IntGauge,
    /// Families, because a plugin without attribution has no series in them.
    heap_live_bytes: Family<IntGauge>,
    heap_floor_bytes: Family<IntGauge>,
    heap_seen_bytes: Family<IntGauge>,
    heap_unseen_bytes: Family<IntGauge>,
    attributions: Vec<IntGauge>,
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
    /// By outcome. Each is created at its first call: most outcomes never happen, and each is 18
    /// series.
    invocation_durations: Vec<OnceLock<Histogram>>,
    durations: Family<Histogram>,
    /// Whether the plugin was removed: then no series may be created.
    closed: Mutex<bool>,
}

impl PluginSeries {
    /// Creates the series of a plugin.
    pub(super) fn resolve(families: &Families, plugin: &str) -> Result<Self, prometheus::Error> {
        let label = [plugin];
        let series = Self {
            plugin: plugin.to_owned(),
            enabled: families.enabled.series(&label)?,
            active: families.active.series(&label)?,
            retained_objects: families.retained_objects.series(&label)?,
            retained_bytes: families.retained_bytes.series(&label)?,
            linear_memory_bytes: families.linear_memory_bytes.series(&label)?,
            linear_memory_peak_bytes: families.linear_memory_peak_bytes.series(&label)?,
            heap_live_bytes: families.heap_live_bytes.clone(),
            heap_floor_bytes: families.heap_floor_bytes.clone(),
            heap_seen_bytes: families.heap_seen_bytes.clone(),
            heap_unseen_bytes: families.heap_unseen_bytes.clone(),
            attributions: AttributionState::ALL
                .iter()
                .map(|state| families.attribution.series(&[plugin, state.label()]))
                .collect::<Result<_, _>>()?,
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
        series.duration_of(InvocationOutcome::Ok);
        series.set_state(PluginState::Running);
        Ok(series)
    }

    /// Prevents new series: the plugin was removed. Counts of calls still in progress are lost.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Sets whether the leak is enabled.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.set(i64::from(enabled));
    }

    /// Sets whether requests reach the leak.
    pub fn set_active(&self, active: bool) {
        self.active.set(i64::from(active));
    }

    /// Sets what the pattern retains.
    pub fn set_retained(&self, objects: u64, bytes: u64) {
        self.retained_objects.set(gauge_value(objects));
        self.retained_bytes.set(gauge_value(bytes));
    }

    /// Sets current and peak linear memory, in bytes.
    pub fn set_linear_memory(&self, bytes: u64, peak_bytes: u64) {
        self.linear_memory_bytes.set(gauge_value(bytes));
        self.linear_memory_peak_bytes.set(gauge_value(peak_bytes));
    }

    /// Sets the bytes that the guest has allocated and not freed. `None` removes the series:
    /// without attribution the number is unknown, not 0.
    pub fn set_heap_live(&self, bytes: Option<u64>) {
        self.set_if_known(&self.heap_live_bytes, bytes);
    }

    /// Sets the part of the live bytes that collections leave. `None` removes the series.
    pub fn set_heap_floor(&self, bytes: Option<u64>) {
        self.set_if_known(&self.heap_floor_bytes, bytes);
    }

    /// Sets by how many bytes linear memory grew for the allocator that the profiler sees, and by
    /// how many that the profiler cannot attribute. `None` removes the series.
    pub fn set_heap_growth(&self, seen: Option<u64>, unseen: Option<u64>) {
        self.set_if_known(&self.heap_seen_bytes, seen);
        self.set_if_known(&self.heap_unseen_bytes, unseen);
    }

    fn set_if_known(&self, family: &Family<IntGauge>, bytes: Option<u64>) {
        let label = [self.plugin.as_str()];
        match bytes {
            Some(bytes) => {
                if let Ok(gauge) = family.series(&label) {
                    gauge.set(gauge_value(bytes));
                }
            }
            None => family.remove(&label),
        }
    }

    /// Sets how precisely the heap is attributed.
    pub fn set_attribution(&self, state: AttributionState) {
        for (index, gauge) in self.attributions.iter().enumerate() {
            gauge.set(i64::from(index == state.index()));
        }
    }

    /// Sets the limit of linear memory, in bytes.
    pub fn set_memory_limit(&self, bytes: u64) {
        self.memory_limit_bytes.set(gauge_value(bytes));
    }

    /// Sets the state.
    pub fn set_state(&self, state: PluginState) {
        for (index, gauge) in self.states.iter().enumerate() {
            gauge.set(i64::from(index == state.index()));
        }
    }

    /// Sets the number of the instance, from 1.
    pub fn set_generation(&self, generation: u64) {
        self.generation.set(gauge_value(generation));
    }

    /// Sets the memory of the profiler in this plugin, in bytes.
    pub fn set_profiler(&self, bytes: u64) {
        self.profiler_bytes.set(gauge_value(bytes));
    }

    /// Counts allocations that the profiler could not attribute.
    pub fn attribution_overflowed(&self, allocations: u64) {
        self.attribution_overflow.inc_by(allocations);
    }

    /// Counts a growth of linear memory.
    pub fn memory_grew(&self) {
        self.memory_grow.inc();
    }

    /// Counts a denied growth.
    pub fn memory_grow_denied(&self) {
        self.memory_grow_denied.inc();
    }

    /// Counts a clear.
    pub fn cleared(&self) {
        self.clears.inc();
    }

    /// Counts a trap that ended the instance.
    pub fn trapped(&self, reason: TrapReason) {
        if let Some(counter) = self.traps.get(reason.index()) {
            counter.inc();
        }
    }

    /// Counts a fresh instance.
    pub fn recycled(&self, reason: RecycleReason) {
        if let Some(counter) = self.recycles.get(reason.index()) {
            counter.inc();
        }
    }

    /// Counts a call and its duration. `live_bytes_delta` is what it left on the guest's heap, if
    /// known.
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
            // Clamped, because the sum of a histogram must not decrease.
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
