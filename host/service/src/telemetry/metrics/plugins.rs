//! Plugins: what they hold, what they were asked, what became of it.

mod handles;
mod labels;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

pub(crate) use handles::PluginHandles;
pub(crate) use labels::{InvocationOutcome, PluginState, RecycleReason, TrapReason};

use super::{Registered, gauge_value, http::DURATION_BUCKETS, register};

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
pub(crate) struct SiteBytes<'a> {
    /// The plugin's id.
    pub(crate) plugin: &'a str,
    /// `plugins/cache/src/lib.rs:42`.
    pub(crate) location: &'a str,
    /// Bytes allocated there and not freed.
    pub(crate) live_bytes: u64,
}

/// Every metric that has a plugin.
#[derive(Debug)]
pub(crate) struct PluginMetrics {
    families: Families,
    plugins: Mutex<HashMap<String, Arc<PluginHandles>>>,
    /// The sites that are shown, so that the ones that fall out of the list can be taken away.
    sites: Mutex<HashSet<(String, String)>>,
}

#[derive(Debug)]
struct Families {
    enabled: IntGaugeVec,
    retained_objects: IntGaugeVec,
    retained_bytes: IntGaugeVec,
    linear_memory_bytes: IntGaugeVec,
    linear_memory_peak_bytes: IntGaugeVec,
    heap_live_bytes: IntGaugeVec,
    memory_limit_bytes: IntGaugeVec,
    state: IntGaugeVec,
    generation: IntGaugeVec,
    profiler_bytes: IntGaugeVec,
    site_live_bytes: IntGaugeVec,
    attribution_overflow: IntCounterVec,
    memory_grow: IntCounterVec,
    memory_grow_denied: IntCounterVec,
    traps: IntCounterVec,
    recycles: IntCounterVec,
    clears: IntCounterVec,
    invocations: IntCounterVec,
    invocation_durations: HistogramVec,
    invocation_live_bytes: HistogramVec,
}

impl PluginMetrics {
    pub(super) fn register(registry: &Registered) -> Result<Self, prometheus::Error> {
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
    pub(crate) fn for_plugin(&self, plugin: &str) -> Result<Arc<PluginHandles>, prometheus::Error> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = plugins.get(plugin) {
            return Ok(Arc::clone(handles));
        }
        let handles = Arc::new(PluginHandles::resolve(&self.families, plugin)?);
        plugins.insert(plugin.to_owned(), Arc::clone(&handles));
        Ok(handles)
    }

    /// The handles of a plugin that is loaded.
    pub(crate) fn of_plugin(&self, plugin: &str) -> Option<Arc<PluginHandles>> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.get(plugin).map(Arc::clone)
    }

    /// Forgets a plugin and all its series. Whoever still holds its handles counts unseen.
    pub(crate) fn remove_plugin(&self, plugin: &str) {
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
                let _ = self
                    .families
                    .site_live_bytes
                    .remove_label_values(&[owner, location]);
            }
            keep
        });
    }

    /// Shows these source lines and no others.
    pub(crate) fn set_sites<'a>(&self, shown: impl IntoIterator<Item = SiteBytes<'a>>) {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stale = std::mem::take(&mut *sites);
        for SiteBytes {
            plugin,
            location,
            live_bytes,
        } in shown
        {
            let labels = [plugin, location];
            if let Ok(gauge) = self
                .families
                .site_live_bytes
                .get_metric_with_label_values(&labels)
            {
                gauge.set(gauge_value(live_bytes));
            }
            let site = (plugin.to_owned(), location.to_owned());
            stale.remove(&site);
            sites.insert(site);
        }
        for (plugin, location) in stale {
            let _ = self
                .families
                .site_live_bytes
                .remove_label_values(&[plugin, location]);
        }
    }
}

impl Families {
    fn register(registry: &Registered) -> Result<Self, prometheus::Error> {
        let gauges = |name, help, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name, help| gauges(name, help, &["plugin"]);
        let counter = |name, help, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let histogram = |name, help, buckets: &[f64], labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(registry, HistogramVec::new(opts, labels)?)
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
                &DURATION_BUCKETS,
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
        // An error means that there was no such series.
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
            let _ = gauge.remove_label_values(&[plugin]);
        }
        for counter in [
            &self.attribution_overflow,
            &self.memory_grow,
            &self.memory_grow_denied,
            &self.clears,
        ] {
            let _ = counter.remove_label_values(&[plugin]);
        }
        let _ = self.invocation_live_bytes.remove_label_values(&[plugin]);
        for state in PluginState::ALL {
            let _ = self.state.remove_label_values(&[plugin, state.label()]);
        }
        for reason in TrapReason::ALL {
            let _ = self.traps.remove_label_values(&[plugin, reason.label()]);
        }
        for reason in RecycleReason::ALL {
            let _ = self.recycles.remove_label_values(&[plugin, reason.label()]);
        }
        for outcome in InvocationOutcome::ALL {
            let _ = self
                .invocations
                .remove_label_values(&[plugin, outcome.label()]);
            let _ = self
                .invocation_durations
                .remove_label_values(&[plugin, outcome.label()]);
        }
    }
}
