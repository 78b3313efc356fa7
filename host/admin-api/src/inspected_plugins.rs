//! The heap inspector at `/debug/heap/`, over the lab's plugins.
//!
//! Readings and histories are those of the lab, which the ledger counts. The inspector keeps
//! nothing of a plugin that outlives a request.

use std::sync::Arc;

use axum::Router;
use guest_heap_inspector::{HeapError, HeapReading, HeapSource, Inspector, KeptHistory, Options};

use crate::state::ApiState;
use plugin_host::driver::handle::Plugin;

/// The inspector's page and its endpoints, and the names of the addresses in profiles as text.
pub(crate) fn routes(state: &Arc<ApiState>) -> Router {
    let options = Options {
        title: "Heaps of the plugins".to_owned(),
        max_guests: 0,
        source_roots: state.options.source_roots.clone(),
        ..Options::default()
    };
    let inspector = Inspector::new(InspectedPlugins(state.clone()), options);
    inspector.heap_router().merge(inspector.symbol_router())
}

struct InspectedPlugins(Arc<ApiState>);

impl InspectedPlugins {
    fn plugin(&self, id: &str) -> Option<Arc<Plugin>> {
        self.0.registry.get(id)
    }
}

impl HeapSource for InspectedPlugins {
    fn guests(&self) -> Vec<String> {
        let plugins = self.0.registry.plugins();
        plugins
            .iter()
            .map(|plugin| plugin.id().to_owned())
            .collect()
    }

    async fn read(&self, guest: &str) -> Result<HeapReading, HeapError> {
        let plugin = self.plugin(guest).ok_or(HeapError::Unknown)?;
        let heaps = &self.0.heaps;
        let failed = |error: &dyn std::fmt::Display| HeapError::Failed(error.to_string());
        // So that the history ends with the heap of this answer.
        let updated = heaps.update_history(&plugin).await;
        updated.map_err(|error| failed(&error))?;
        let snapshot = heaps.snapshot(&plugin).await;
        let snapshot = snapshot.map_err(|error| failed(&error))?;
        let snapshot = snapshot.ok_or_else(|| failed(&"it is not profiled"))?;
        let (details, reading) = (plugin.details(), plugin.reading());
        let live = snapshot.totals().live_bytes;
        let range = snapshot.coverage().live_range(&details.profile, live);
        let attribution = details.attribution(&reading);
        let heap = HeapReading::of_snapshot(snapshot, attribution, range);
        Ok(heap.with_calls(reading.requests))
    }

    fn history(&self, guest: &str) -> Option<KeptHistory> {
        let plugin = self.plugin(guest)?;
        Some(KeptHistory {
            history: self.0.heaps.history(&plugin),
            now: self.0.heaps.now(),
        })
    }
}
