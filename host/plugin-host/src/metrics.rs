//! The metrics of plugins: what they retain, their calls, and the outcomes.

mod families;
mod labels;
mod plugin_series;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use telemetry::metrics::{MetricsRegistry, gauge_value};

use crate::metrics::families::Families;

pub use self::labels::{
    AttributionState, InvocationOutcome, PluginState, RecycleReason, TrapReason,
};
pub use self::plugin_series::PluginSeries;

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

/// All metrics with the label `plugin`.
#[derive(Debug)]
pub struct PluginMetrics {
    families: Families,
    plugins: Mutex<HashMap<String, Arc<PluginSeries>>>,
    /// The source lines that have a series now.
    sites: Mutex<HashSet<(String, String)>>,
}

impl PluginMetrics {
    /// Registers the families.
    ///
    /// # Errors
    ///
    /// When the registry already has a family with one of the names.
    pub fn register(registry: &MetricsRegistry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            families: Families::register(registry)?,
            plugins: Mutex::default(),
            sites: Mutex::default(),
        })
    }

    /// The instruments of a plugin. The first call creates its series with zeros; later calls
    /// return the same instruments.
    ///
    /// # Errors
    ///
    /// When a family does not accept its labels, which is a bug.
    pub fn for_plugin(&self, plugin: &str) -> Result<Arc<PluginSeries>, prometheus::Error> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = plugins.get(plugin) {
            return Ok(Arc::clone(series));
        }
        let series = Arc::new(PluginSeries::resolve(&self.families, plugin)?);
        plugins.insert(plugin.to_owned(), Arc::clone(&series));
        Ok(series)
    }

    /// The instruments of a loaded plugin.
    pub fn of_plugin(&self, plugin: &str) -> Option<Arc<PluginSeries>> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.get(plugin).map(Arc::clone)
    }

    /// Removes a plugin and all its series. Counts through instruments that are still held are
    /// lost.
    pub fn remove_plugin(&self, plugin: &str) {
        let series = self
            .plugins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(plugin);
        if let Some(series) = series {
            series.close();
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

    /// Sets the series of these source lines and removes all others.
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
