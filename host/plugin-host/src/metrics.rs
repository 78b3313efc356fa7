//! Plugins: what they hold, what they were asked, what became of it.

mod handles;
mod labels;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Histogram, IntCounter, IntGauge};

pub use handles::PluginHandles;
pub use labels::{InvocationOutcome, PluginState, RecycleReason, TrapReason};

use telemetry::metrics::family::{Family, MetricDesc};
use telemetry::metrics::{DURATION_BUCKETS_SECONDS, MetricsRegistry, gauge_value};

/// Upper bounds in bytes of what one call leaves behind: from nothing to a megabyte, with a step at
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

/// The live bytes of one source line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteBytes<'a> {
    /// The plugin's id.
    pub plugin: &'a str,
    /// `plugins/cache/src/lib.rs:42`.
    pub location: &'a str,
    /// Bytes allocated there and not freed.
    pub live_bytes: u64,
}

/// Every metric that has a plugin.
#[derive(Debug)]
pub struct PluginMetrics {
    families: Families,
    plugins: Mutex<HashMap<String, Arc<PluginHandles>>>,
    /// The sites that are shown, so that the ones that fall out of the list can be taken away.
    sites: Mutex<HashSet<(String, String)>>,
}

#[derive(Debug)]
struct Families {
    enabled: Family<IntGauge>,
    retained_objects: Family<IntGauge>,
    retained_bytes: Family<IntGauge>,
    linear_memory_bytes: Family<IntGauge>,
    linear_memory_peak_bytes: Family<IntGauge>,
    heap_live_bytes: Family<IntGauge>,
    memory_limit_bytes: Family<IntGauge>,
    state: Family<IntGauge>,
    generation: Family<IntGauge>,
    profiler_bytes: Family<IntGauge>,
    site_live_bytes: Family<IntGauge>,
    attribution_overflow: Family<IntCounter>,
    memory_grow: Family<IntCounter>,
    memory_grow_denied: Family<IntCounter>,
    traps: Family<IntCounter>,
    recycles: Family<IntCounter>,
    clears: Family<IntCounter>,
    invocations: Family<IntCounter>,
    invocation_durations: Family<Histogram>,
    invocation_live_bytes: Family<Histogram>,
}

impl PluginMetrics {
    /// Registers every family of plugins.
    ///
    /// # Errors
    ///
    /// When the registry has a family of one of the names already.
    pub fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            families: Families::register(registry)?,
            plugins: Mutex::default(),
            sites: Mutex::default(),
        })
    }

    /// The handles of a plugin. Its series exist from now on, with zeros; asking again gives the same
    /// handles.
    ///
    /// # Errors
    /// Never in practice: only when a family and its labels do not fit.
    pub fn for_plugin(&self, plugin: &str) -> Result<Arc<PluginHandles>, prometheus::Error> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = plugins.get(plugin) {
            return Ok(Arc::clone(handles));
        }
        let handles = Arc::new(PluginHandles::resolve(&self.families, plugin)?);
        plugins.insert(plugin.to_owned(), Arc::clone(&handles));
        Ok(handles)
    }

    /// The handles of a plugin that is loaded.
    pub fn of_plugin(&self, plugin: &str) -> Option<Arc<PluginHandles>> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.get(plugin).map(Arc::clone)
    }

    /// Forgets a plugin and all its series. Whoever still holds its handles counts unseen.
    pub fn remove_plugin(&self, plugin: &str) {
        let handles = self
            .plugins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(plugin);
        if let Some(handles) = handles {
            handles.close();
        }
        self.families.remove(plugin);
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        sites.retain(|(owner, location)| {
            let keep = owner != plugin;
            if !keep {
                self.families.site_live_bytes.remove(&[owner, location]);
            }
            keep
        });
    }

    /// Shows these source lines and no others.
    pub fn set_sites<'a>(&self, shown: impl IntoIterator<Item = SiteBytes<'a>>) {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stale = std::mem::take(&mut *sites);
        for SiteBytes {
            plugin,
            location,
            live_bytes,
        } in shown
        {
            if let Ok(gauge) = self.families.site_live_bytes.series(&[plugin, location]) {
                gauge.set(gauge_value(live_bytes));
            }
            let site = (plugin.to_owned(), location.to_owned());
            stale.remove(&site);
            sites.insert(site);
        }
        for (plugin, location) in stale {
            self.families.site_live_bytes.remove(&[&plugin, &location]);
        }
    }
}

impl Families {
    fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        let gauges =
            |name, help, labels| registry.family(MetricDesc::new(name, help).labels(labels));
        let gauge = |name, help| gauges(name, help, &["plugin"]);
        let counter =
            |name, help, labels| registry.family(MetricDesc::new(name, help).labels(labels));
        let histogram = |name, help, buckets, labels| {
            let about = MetricDesc::new(name, help).labels(labels);
            registry.family(about.buckets(buckets))
        };
        Ok(Self {
            enabled: gauge("leak_enabled", "1 while the leak is switched on.")?,
            retained_objects: gauge(
                "leak_retained_objects",
                "Objects that the leak pattern holds.",
            )?,
            retained_bytes: gauge("leak_retained_bytes", "Bytes that the leak pattern holds.")?,
            linear_memory_bytes: gauge(
                "leak_plugin_linear_memory_bytes",
                "Linear memory granted to the plugin; it never shrinks within an instance.",
            )?,
            linear_memory_peak_bytes: gauge(
                "leak_plugin_linear_memory_peak_bytes",
                "The most linear memory that the plugin ever had, over all its instances.",
            )?,
            heap_live_bytes: gauge(
                "leak_plugin_heap_live_bytes",
                "Bytes that the plugin's allocator has handed out and not got back.",
            )?,
            memory_limit_bytes: gauge(
                "leak_plugin_memory_limit_bytes",
                "The most linear memory it may have.",
            )?,
            state: gauges(
                "leak_plugin_state",
                "1 for the state that the plugin is in.",
                &["plugin", "state"],
            )?,
            generation: gauge(
                "leak_plugin_generation",
                "Which instance of the plugin this is, from 1.",
            )?,
            profiler_bytes: gauge(
                "leak_plugin_profiler_bytes",
                "Memory of the heap profiler itself.",
            )?,
            site_live_bytes: gauges(
                "leak_site_live_bytes",
                "Live bytes by source line, the lines that grow most.",
                &["plugin", "location"],
            )?,
            attribution_overflow: counter(
                "leak_plugin_attribution_overflow_total",
                "Allocations whose call stack found no room in the profiler.",
                &["plugin"],
            )?,
            memory_grow: counter(
                "leak_plugin_memory_grow_total",
                "Times that linear memory was grown.",
                &["plugin"],
            )?,
            memory_grow_denied: counter(
                "leak_plugin_memory_grow_denied_total",
                "Times that growth was refused at the limit.",
                &["plugin"],
            )?,
            traps: counter(
                "leak_plugin_traps_total",
                "Traps that ended an instance.",
                &["plugin", "reason"],
            )?,
            recycles: counter(
                "leak_plugin_recycles_total",
                "Fresh instances that replaced one.",
                &["plugin", "reason"],
            )?,
            clears: counter(
                "leak_plugin_clears_total",
                "Times that what the pattern held was dropped on request.",
                &["plugin"],
            )?,
            invocations: counter(
                "leak_plugin_invocations_total",
                "Calls of the plugin.",
                &["plugin", "outcome"],
            )?,
            invocation_durations: histogram(
                "leak_plugin_invocation_duration_seconds",
                "Time that a call of the plugin took.",
                &DURATION_BUCKETS_SECONDS,
                &["plugin", "outcome"],
            )?,
            invocation_live_bytes: histogram(
                "leak_plugin_invocation_live_bytes",
                "Bytes that one call left behind; a call that freed more than it allocated counts as 0.",
                &LIVE_BYTES_BUCKETS,
                &["plugin"],
            )?,
        })
    }

    fn remove(&self, plugin: &str) {
        for gauge in [
            &self.enabled,
            &self.retained_objects,
            &self.retained_bytes,
            &self.linear_memory_bytes,
            &self.linear_memory_peak_bytes,
            &self.heap_live_bytes,
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
