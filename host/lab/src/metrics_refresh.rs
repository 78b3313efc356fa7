//! Sets all gauges from the current readings, right before a scrape or an export reads them.
//!
//! Counters and histograms count where something happens. Gauges are set here only, so they cost
//! nothing between two scrapes. A plugin that is not loaded any more loses its series here, if the
//! registry has not removed them already.

use std::cmp::Reverse;
use std::sync::Arc;

use guest_heap::Attribution;
use guest_heap::history::OTHER;

use crate::heap::Heaps;
use crate::metrics::{GrowthOf, Metrics};
use crate::monitor::Monitor;
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::published_state::RunState;
use plugin_host::metrics::{AttributionState, PluginState, SiteBytes};
use plugin_host::registry::Registry;

/// Source lines in `leak_site_live_bytes`, over all plugins.
const MAX_SITES: usize = 20;

/// Sets every gauge.
///
/// # Errors
///
/// When procfs cannot be read.
pub fn refresh(
    metrics: &Metrics,
    registry: &Registry,
    monitor: &Monitor,
    heaps: &Heaps,
) -> std::io::Result<()> {
    refresh_process(metrics, registry, monitor, heaps)?;
    let plugins = registry.plugins();
    for plugin in plugins.iter() {
        refresh_plugin(metrics, monitor, plugin);
    }
    let sites = fastest_growing_sites(&plugins, heaps);
    // Plugins may have been unloaded since; their series must not come back.
    let plugins = registry.plugins();
    let is_loaded = |id: &str| plugins.binary_search_by(|p| p.id().cmp(id)).is_ok();
    let shows_plugins = metrics.visibility().shows_plugins();
    metrics
        .growth
        .retain_plugins(|id| shows_plugins && is_loaded(id));
    let sites = sites.iter().filter(|site| is_loaded(site.plugin.id()));
    metrics.plugins.set_sites(sites.map(Site::bytes));
    Ok(())
}

fn refresh_process(
    metrics: &Metrics,
    registry: &Registry,
    monitor: &Monitor,
    heaps: &Heaps,
) -> std::io::Result<()> {
    let process = monitor.process()?;
    let ledger = monitor.ledger(&process, registry, heaps);
    let limit = monitor.budget().limit_bytes();
    let forecast = monitor.process_forecast();
    metrics.process.update(&process);
    metrics.ledger.update(&ledger);
    metrics.growth.update(GrowthOf::Process, &forecast, limit);
    Ok(())
}

fn refresh_plugin(metrics: &Metrics, monitor: &Monitor, plugin: &Plugin) {
    let Some(series) = metrics.plugins.of_plugin(plugin.id()) else {
        return;
    };
    let (reading, details) = (plugin.reading(), plugin.details());
    let limit = details.settings.policy().memory_limit;
    series.set_enabled(plugin.enabled());
    series.set_active(plugin.active());
    series.set_retained(reading.retained.objects, reading.retained.bytes);
    series.set_linear_memory(reading.linear.bytes, reading.linear_peak);
    series.set_memory_limit(limit);
    series.set_heap_live(reading.heap_live);
    let coverage = reading.heap_live.map(|_| reading.coverage);
    series.set_heap_growth(
        coverage.map(|coverage| coverage.heap_seen_bytes),
        coverage.map(|coverage| coverage.heap_unseen_bytes),
    );
    series.set_attribution(match details.attribution(&reading) {
        Attribution::Exact => AttributionState::Exact,
        Attribution::Partial { .. } => AttributionState::Partial,
        Attribution::Off { .. } => AttributionState::Off,
    });
    series.set_profiler(reading.profiler_bytes);
    series.set_generation(reading.generation);
    series.set_state(match details.state {
        RunState::Running => PluginState::Running,
        RunState::Exhausted(_) => PluginState::Exhausted,
        RunState::Faulted(_) => PluginState::Faulted,
    });
    let forecast = monitor.plugin_forecast(plugin, limit);
    let floor = forecast.as_ref().and_then(|forecast| forecast.floor_bytes);
    let floor = |live: u64| floor.map_or(live, |floor| floor.min(live));
    series.set_heap_floor(reading.heap_live.map(floor));
    if let Some(forecast) = forecast {
        let of = GrowthOf::Plugin(plugin.id());
        metrics.growth.update(of, &forecast, Some(limit));
    }
}

/// A source line that has live bytes.
struct Site {
    plugin: Arc<Plugin>,
    location: Arc<str>,
    live_bytes: u64,
    grown_bytes: u64,
}

impl Site {
    fn bytes(&self) -> SiteBytes<'_> {
        SiteBytes {
            plugin: self.plugin.id(),
            location: &self.location,
            live_bytes: self.live_bytes,
        }
    }
}

/// The lines that have grown most within the histories, fastest first.
fn fastest_growing_sites(plugins: &[Arc<Plugin>], heaps: &Heaps) -> Vec<Site> {
    let mut sites = Vec::new();
    for plugin in plugins {
        for series in heaps.with_history(plugin, |history| history.series(MAX_SITES, 2)) {
            let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else {
                continue;
            };
            if &*series.site.location != OTHER && last.1 > 0 {
                sites.push(Site {
                    plugin: plugin.clone(),
                    location: series.site.location.clone(),
                    live_bytes: last.1,
                    grown_bytes: last.1.saturating_sub(first.1),
                });
            }
        }
    }
    sites.sort_by_key(|site| Reverse(site.grown_bytes));
    sites.truncate(MAX_SITES);
    sites
}

#[cfg(test)]
mod tests {
    use plugin_host::engine;
    use plugin_host::load::cache::{Cache, CacheLimits};
    use plugin_host::load::compiler::Compiler;
    use plugin_host::load::loader::Loader;
    use plugin_host::settings::{Defaults, HeapProfile};
    use process_memory::limit::MemoryBudget;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::forecast::Forecast;

    #[tokio::test]
    async fn a_refresh_removes_the_series_of_plugins_that_are_not_loaded() {
        let metrics = Metrics::new("leaky-service", "1.2.3", "abcdef0").unwrap();
        let engine = engine::start().unwrap();
        let cache = Cache::open(None, CacheLimits::default(), &engine);
        let loader = Loader::new(engine, cache, Compiler::in_process(), 1 << 20).unwrap();
        let defaults = Defaults {
            deadline: std::time::Duration::from_millis(250),
            queue_timeout: std::time::Duration::from_secs(5),
            memory_limit: None,
            heap_profile: HeapProfile::Exact,
        };
        let plugins = metrics.plugins.clone();
        let registry = Registry::new(loader.clone(), None, defaults, plugins, TaskTracker::new());
        let monitor = Monitor::new(MemoryBudget::detect(Some(1 << 40))).unwrap();
        let heaps = Heaps::new(loader);

        // A scrape that began before the plugin was unloaded.
        let of = GrowthOf::Plugin("cache");
        metrics.growth.update(of, &Forecast::default(), Some(1));
        metrics.plugins.set_sites([SiteBytes {
            plugin: "cache",
            location: "a.rs:1",
            live_bytes: 1,
        }]);
        let page = metrics.render(None).body;
        assert_eq!(page.matches(r#"plugin="cache""#).count(), 5, "{page}");

        refresh(&metrics, &registry, &monitor, &heaps).unwrap();
        let page = metrics.render(None).body;
        assert!(!page.contains(r#"plugin="cache""#), "{page}");
        assert!(page.contains("\nleak_memory_limit_bytes "), "{page}");
    }
}
