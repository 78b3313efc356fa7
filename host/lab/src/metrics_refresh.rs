//! Brings the gauges up to date with the readings, just before somebody looks at them.
//!
//! Counters count where things happen; gauges are set here, so nothing is paid for them while nobody looks.

use std::sync::Arc;

use guest_heap::history::OTHER;

use crate::heap::Heaps;
use crate::metrics::{GrowthOf, Metrics};
use crate::monitor::Monitor;
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::published_state::RunState;
use plugin_host::metrics::{PluginState, SiteBytes};
use plugin_host::registry::Registry;
use process_memory::limit::MemoryBudget;

/// Sets every gauge.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn refresh(
    metrics: &Metrics,
    registry: &Registry,
    monitor: &Monitor,
    heaps: &Heaps,
) -> std::io::Result<()> {
    let process = monitor.process()?;
    metrics.process.update(&process);
    metrics
        .ledger
        .update(&monitor.ledger(&process, registry, heaps));
    let budget: &MemoryBudget = monitor.budget();
    let forecast = monitor.process_forecast();
    metrics.growth.update(
        GrowthOf::Process,
        &forecast.growth,
        forecast.seconds_to_limit,
        budget.limit.map(|l| l.bytes),
    );
    let plugins = registry.plugins();
    for plugin in plugins.iter() {
        refresh_plugin(metrics, monitor, plugin);
    }
    refresh_sites(metrics, &plugins, heaps);
    let now = registry.plugins();
    if !Arc::ptr_eq(&plugins, &now) {
        // One that was unloaded meanwhile may have got its series back.
        let gone = |p: &&Arc<Plugin>| now.binary_search_by(|n| n.id().cmp(p.id())).is_err();
        for plugin in plugins.iter().filter(gone) {
            metrics.remove_plugin(plugin.id());
        }
    }
    Ok(())
}

fn refresh_plugin(metrics: &Metrics, monitor: &Monitor, plugin: &Plugin) {
    let Some(handles) = metrics.plugins.of_plugin(plugin.id()) else {
        return;
    };
    let (reading, details) = (plugin.reading(), plugin.details());
    let limit = details.settings.policy().memory_limit;
    handles.set_enabled(plugin.enabled());
    handles.set_retained(reading.retained.objects, reading.retained.bytes);
    handles.set_linear_memory(reading.linear.bytes, reading.linear_peak);
    handles.set_memory_limit(limit);
    handles.set_heap_live(reading.heap_live);
    handles.set_profiler(reading.profiler_bytes);
    handles.set_generation(reading.generation);
    handles.set_state(match details.state {
        RunState::Running => PluginState::Running,
        RunState::Exhausted(_) => PluginState::Exhausted,
        RunState::Faulted(_) => PluginState::Faulted,
    });
    if let Some(forecast) = monitor.plugin_forecast(plugin, limit) {
        metrics.growth.update(
            GrowthOf::Plugin(plugin.id()),
            &forecast.growth,
            forecast.seconds_to_limit,
            Some(limit),
        );
    }
}

/// Shows the source lines that have grown most in the history.
fn refresh_sites(metrics: &Metrics, plugins: &[Arc<Plugin>], heaps: &Heaps) {
    let mut sites = Vec::new();
    for plugin in plugins {
        for series in heaps.with_history(plugin, |h| h.series(SITES, 2)) {
            let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else {
                continue;
            };
            if &*series.site.location != OTHER && last.1 > 0 {
                let grown = last.1.saturating_sub(first.1);
                sites.push((grown, plugin.clone(), series.site.location.clone(), last.1));
            }
        }
    }
    sites.sort_by_key(|(grown, ..)| std::cmp::Reverse(*grown));
    sites.truncate(SITES);
    metrics.plugins.set_sites(
        sites
            .iter()
            .map(|(_, plugin, location, live_bytes)| SiteBytes {
                plugin: plugin.id(),
                location,
                live_bytes: *live_bytes,
            }),
    );
}

/// Source lines that are shown.
const SITES: usize = 20;
