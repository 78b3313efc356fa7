//! The heaps of the plugins as profiles for OTLP.

mod encode;
mod table;

use std::sync::Arc;
use std::time::SystemTime;

use plugin_host::driver::handle::Plugin;
use plugin_host::registry::Registry;
use telemetry::profiles::{ProfileBatch, ProfileSource};

use crate::heap::Heaps;
use crate::metrics::Metrics;

pub use encode::{MAX_BYTES, encode};

/// The live heap of each plugin. While a mystery hides source lines, there are none.
pub struct HeapProfiles {
    metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    heaps: Arc<Heaps>,
}

impl HeapProfiles {
    /// The heaps of the plugins of this registry. `metrics` says whether lines are shown.
    pub fn new(metrics: Arc<Metrics>, registry: Arc<Registry>, heaps: Arc<Heaps>) -> Self {
        Self {
            metrics,
            registry,
            heaps,
        }
    }

    fn shows_lines(&self) -> bool {
        self.metrics.visibility().shows_lines()
    }
}

impl ProfileSource for HeapProfiles {
    type Program = Arc<Plugin>;

    fn programs(&self) -> Vec<Arc<Plugin>> {
        if !self.shows_lines() {
            return Vec::new();
        }
        self.registry.plugins().to_vec()
    }

    async fn read(&self, plugin: Arc<Plugin>) -> Option<ProfileBatch> {
        let snapshot = match self.heaps.snapshot(&plugin).await {
            Ok(snapshot) => snapshot?,
            Err(error) => {
                tracing::debug!(plugin = plugin.id(), %error, "heap not exported");
                return None;
            }
        };
        let taken = SystemTime::now();
        let encoded = move || encode(plugin.id(), &snapshot, taken);
        let batch = tokio::task::spawn_blocking(encoded).await.ok()??;
        // A mystery may have begun meanwhile.
        self.shows_lines().then_some(batch)
    }
}
