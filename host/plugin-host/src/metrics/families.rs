//! The families of plugin metrics: names, help texts, labels and buckets.

use prometheus::{Histogram, IntCounter, IntGauge};
use telemetry::metrics::family::{Family, MetricDesc};
use telemetry::metrics::{DURATION_BUCKETS_SECONDS, MetricsRegistry};

use crate::metrics::labels::{
    AttributionState, InvocationOutcome, PluginState, RecycleReason, TrapReason,
};

/// Upper bounds in bytes of what one call leaves on the heap: from 0 to 1 MiB, with a step above
/// each of the lab's payloads (1, 5 and 7 KiB).
const LIVE_BYTES_BUCKETS: [f64; 13] = [
    0.0,
    64.0,
    256.0,
    1024.0,
    2048.0,
    4096.0,
    8192.0,
    16_384.0,
    32_768.0,
    65_536.0,
    131_072.0,
    262_144.0,
    1_048_576.0,
];

#[derive(Debug)]
pub(super) struct Families {
    pub(super) enabled: Family<IntGauge>,
    pub(super) active: Family<IntGauge>,
    pub(super) retained_objects: Family<IntGauge>,
    pub(super) retained_bytes: Family<IntGauge>,
    pub(super) linear_memory_bytes: Family<IntGauge>,
    pub(super) linear_memory_peak_bytes: Family<IntGauge>,
    pub(super) heap_live_bytes: Family<IntGauge>,
    pub(super) heap_floor_bytes: Family<IntGauge>,
    pub(super) heap_seen_bytes: Family<IntGauge>,
    pub(super) heap_unseen_bytes: Family<IntGauge>,
    pub(super) attribution: Family<IntGauge>,
    pub(super) memory_limit_bytes: Family<IntGauge>,
    pub(super) state: Family<IntGauge>,
    pub(super) generation: Family<IntGauge>,
    pub(super) profiler_bytes: Family<IntGauge>,
    pub(super) site_live_bytes: Family<IntGauge>,
    pub(super) attribution_overflow: Family<IntCounter>,
    pub(super) memory_grow: Family<IntCounter>,
    pub(super) memory_grow_denied: Family<IntCounter>,
    pub(super) traps: Family<IntCounter>,
    pub(super) recycles: Family<IntCounter>,
    pub(super) clears: Family<IntCounter>,
    pub(super) invocations: Family<IntCounter>,
    pub(super) invocation_durations: Family<Histogram>,
    pub(super) invocation_live_bytes: Family<Histogram>,
}

impl Families {
    pub(super) fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        let gauges =
            |name, help, labels| registry.family(MetricDesc::new(name, help).labels(labels));
        let gauge = |name, help| gauges(name, help, &["plugin"]);
        let counter =
            |name, help, labels| registry.family(MetricDesc::new(name, help).labels(labels));
        let histogram = |name, help, buckets, labels| {
            let desc = MetricDesc::new(name, help).labels(labels);
            registry.family(desc.buckets(buckets))
        };
        Ok(Self {
            enabled: gauge("leak_enabled", "1 while the leak is enabled.")?,
            active: gauge(
                "leak_active",
                "1 while the leak is enabled and its schedule has it on.",
            )?,
            retained_objects: gauge(
                "leak_retained_objects",
                "Objects that the leak pattern retains.",
            )?,
            retained_bytes: gauge(
                "leak_retained_bytes",
                "Bytes that the leak pattern retains.",
            )?,
            linear_memory_bytes: gauge(
                "leak_plugin_linear_memory_bytes",
                "Linear memory of the plugin; it never shrinks within an instance.",
            )?,
            linear_memory_peak_bytes: gauge(
                "leak_plugin_linear_memory_peak_bytes",
                "The most linear memory that the plugin has had, over all its instances.",
            )?,
            heap_live_bytes: gauge(
                "leak_plugin_heap_live_bytes",
                "Bytes that the plugin has allocated and not freed.",
            )?,
            heap_floor_bytes: gauge(
                "leak_plugin_heap_floor_bytes",
                "Live bytes without the garbage that the next collection frees, as an estimate.",
            )?,
            heap_seen_bytes: gauge(
                "leak_plugin_heap_seen_bytes",
                "Growth of linear memory for the allocator that the profiler sees.",
            )?,
            heap_unseen_bytes: gauge(
                "leak_plugin_heap_unseen_bytes",
                "Growth of linear memory that the profiler cannot attribute to an allocation.",
            )?,
            attribution: gauges(
                "leak_plugin_attribution",
                "1 for the current attribution of the plugin's heap, 0 for the others.",
                &["plugin", "state"],
            )?,
            memory_limit_bytes: gauge(
                "leak_plugin_memory_limit_bytes",
                "Limit of the plugin's linear memory.",
            )?,
            state: gauges(
                "leak_plugin_state",
                "1 for the current state of the plugin, 0 for the others.",
                &["plugin", "state"],
            )?,
            generation: gauge(
                "leak_plugin_generation",
                "Number of the plugin's instance, from 1.",
            )?,
            profiler_bytes: gauge(
                "leak_plugin_profiler_bytes",
                "Memory of the heap profiler in the plugin.",
            )?,
            site_live_bytes: gauges(
                "leak_site_live_bytes",
                "Live bytes by source line, for the lines that grow most.",
                &["plugin", "location"],
            )?,
            attribution_overflow: counter(
                "leak_plugin_attribution_overflow_total",
                "Allocations that found no slot for their call stack in the profiler.",
                &["plugin"],
            )?,
            memory_grow: counter(
                "leak_plugin_memory_grow_total",
                "Growths of linear memory.",
                &["plugin"],
            )?,
            memory_grow_denied: counter(
                "leak_plugin_memory_grow_denied_total",
                "Growths of linear memory denied at the limit.",
                &["plugin"],
            )?,
            traps: counter(
                "leak_plugin_traps_total",
                "Traps that ended an instance.",
                &["plugin", "reason"],
            )?,
            recycles: counter(
                "leak_plugin_recycles_total",
                "Fresh instances that replaced an old one.",
                &["plugin", "reason"],
            )?,
            clears: counter(
                "leak_plugin_clears_total",
                "Clears: a client made the pattern drop what it retained.",
                &["plugin"],
            )?,
            invocations: counter(
                "leak_plugin_invocations_total",
                "Calls of the plugin.",
                &["plugin", "outcome"],
            )?,
            invocation_durations: histogram(
                "leak_plugin_invocation_duration_seconds",
                "Duration of a call of the plugin.",
                &DURATION_BUCKETS_SECONDS,
                &["plugin", "outcome"],
            )?,
            invocation_live_bytes: histogram(
                "leak_plugin_invocation_live_bytes",
                "Bytes that one call left on the heap; \
                 a call that freed more than it allocated counts as 0.",
                &LIVE_BYTES_BUCKETS,
                &["plugin"],
            )?,
        })
    }

    /// Removes all series of a plugin except those of source lines.
    pub(super) fn remove(&self, plugin: &str) {
        for gauge in [
            &self.enabled,
            &self.active,
            &self.retained_objects,
            &self.retained_bytes,
            &self.linear_memory_bytes,
            &self.linear_memory_peak_bytes,
            &self.heap_live_bytes,
            &self.heap_floor_bytes,
            &self.heap_seen_bytes,
            &self.heap_unseen_bytes,
            &self.memory_limit_bytes,
            &self.generation,
            &self.profiler_bytes,
        ] {
            gauge.remove(&[plugin]);
        }
        for counter in [
            &self.attribution_overflow,
            &self.memory_grow,
            &self.memory_grow_denied,
            &self.clears,
        ] {
            counter.remove(&[plugin]);
        }
        self.invocation_live_bytes.remove(&[plugin]);
        for state in PluginState::ALL {
            self.state.remove(&[plugin, state.label()]);
        }
        for state in AttributionState::ALL {
            self.attribution.remove(&[plugin, state.label()]);
        }
        for reason in TrapReason::ALL {
            self.traps.remove(&[plugin, reason.label()]);
        }
        for reason in RecycleReason::ALL {
            self.recycles.remove(&[plugin, reason.label()]);
        }
        for outcome in InvocationOutcome::ALL {
            self.invocations.remove(&[plugin, outcome.label()]);
            self.invocation_durations.remove(&[plugin, outcome.label()]);
        }
    }
}
