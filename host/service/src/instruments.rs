//! Brings the gauges up to date with the readings, just before somebody looks at them.
//!
//! Counters count where things happen; gauges are set here, so nothing is paid for them while nobody looks.

use crate::memory::limit::MemoryBudget;
use crate::monitor::Monitor;
use crate::plugin::handle::{Plugin, State};
use crate::plugin::registry::Registry;
use crate::telemetry::metrics::{GrowthOf, Metrics, PluginState};

/// Sets every gauge.
///
/// # Errors
///
/// When the kernel does not answer.
pub(crate) fn refresh(
    metrics: &Metrics,
    registry: &Registry,
    monitor: &Monitor,
) -> std::io::Result<()> {
    let process = monitor.process()?;
    metrics.process.update(&process);
    metrics.ledger.update(&monitor.ledger(&process, registry));
    let budget: &MemoryBudget = monitor.budget();
    let growth = monitor.process_forecast().growth;
    metrics
        .growth
        .update(GrowthOf::Process, &growth, budget.limit.map(|l| l.bytes));
    for plugin in registry.plugins().iter() {
        refresh_plugin(metrics, monitor, plugin);
    }
    Ok(())
}

fn refresh_plugin(metrics: &Metrics, monitor: &Monitor, plugin: &Plugin) {
    let Ok(handles) = metrics.plugins.for_plugin(plugin.id()) else {
        return;
    };
    let (reading, details) = (plugin.reading(), plugin.details());
    let limit = details.settings.policy().memory_limit;
    handles.set_enabled(plugin.enabled());
    handles.set_retained(reading.retained.objects, reading.retained.bytes);
    handles.set_linear_memory(reading.linear.bytes, reading.linear_peak);
    handles.set_memory_limit(limit);
    handles.set_heap_live(reading.heap_live.unwrap_or(0));
    handles.set_profiler(reading.profiler_bytes);
    handles.set_generation(reading.generation);
    handles.set_state(match details.state {
        State::Running => PluginState::Running,
        State::Exhausted(_) => PluginState::Exhausted,
        State::Faulted(_) => PluginState::Faulted,
    });
    if let Some(forecast) = monitor.plugin_forecast(plugin.id(), limit) {
        metrics
            .growth
            .update(GrowthOf::Plugin(plugin.id()), &forecast.growth, Some(limit));
    }
}
