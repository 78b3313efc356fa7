//! The histories of the heaps: one point per second for each plugin whose heap has changed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::Heaps;
use super::tracked::{LastPoint, PendingReading};
use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::registry::Registry;
use process_memory::allocator;

/// A plugin that does not answer within this time is left out of one sample.
const READ_TIMEOUT: Duration = Duration::from_millis(400);

/// Plugins that are read at the same time.
const MAX_CONCURRENT_READINGS: usize = 8;

/// The most time between two points of a history, whether the heap has changed or not.
const MAX_POINT_INTERVAL: Duration = Duration::from_secs(15);

/// A point this young answers a query, so frequent queries do not fill the history.
const MAX_REUSED_POINT_AGE: Duration = Duration::from_millis(100);

/// Why a point is added to a history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// A second has passed.
    Clock,
    /// A caller is about to read the history.
    Query,
}

impl Heaps {
    /// Adds one point to the history of every plugin whose heap has changed. Called once a second.
    pub(crate) async fn sample(&self, registry: &Registry) {
        let plugins = registry.plugins();
        self.retain_loaded(&plugins);
        // Several at a time, so a slow plugin does not delay the ones after it.
        let mut samples = FuturesUnordered::new();
        for plugin in plugins.iter() {
            samples.push(self.sample_and_log(plugin));
            if samples.len() == MAX_CONCURRENT_READINGS {
                samples.next().await;
            }
        }
        while samples.next().await.is_some() {}
        if self.dropped_line_tables.swap(false, Ordering::Relaxed) {
            // Takes some milliseconds, and no caller waits for it.
            tokio::task::spawn_blocking(allocator::release_free_pages);
        }
    }

    async fn sample_and_log(&self, plugin: &Arc<Plugin>) {
        if let Err(error) = self.sample_one(plugin, Trigger::Clock).await {
            tracing::debug!(plugin = plugin.id(), %error, "heap not sampled");
        }
    }

    /// Adds a point of the current heap to a plugin's history, before a caller reads it.
    ///
    /// # Errors
    ///
    /// Those of [`Heaps::snapshot`].
    pub async fn update_history(&self, plugin: &Arc<Plugin>) -> Result<(), PluginError> {
        self.sample_one(plugin, Trigger::Query).await
    }

    async fn sample_one(&self, plugin: &Arc<Plugin>, trigger: Trigger) -> Result<(), PluginError> {
        let heap = self.tracked(plugin);
        let is_query = trigger == Trigger::Query;
        let mut reader = if is_query {
            heap.reader.lock().await
        } else {
            // A heap that another caller reads at this moment is sampled a second later.
            match heap.reader.try_lock() {
                Ok(reader) => reader,
                Err(_) => return Ok(()),
            }
        };
        let now = self.now();
        let published = plugin.reading();
        let last_point = reader.last_point;
        if is_query && last_point.is_some_and(|last| now < last.at + MAX_REUSED_POINT_AGE) {
            return Ok(());
        }
        // Compared with the history's last point: a snapshot for another caller adds no point.
        let is_unchanged = published.generation == reader.generation
            && last_point.is_some_and(|last| {
                now < last.at + MAX_POINT_INTERVAL && Some(last.live_bytes) == published.heap_live
            });
        if is_unchanged && !is_query {
            // No caller needs the line tables until the heap changes.
            if let Some((_, symbols)) = &reader.symbols {
                if symbols.release_parsed() {
                    self.dropped_line_tables.store(true, Ordering::Relaxed);
                }
                heap.count_symbols(&reader);
            }
            return Ok(());
        }
        let is_idle = !is_query && reader.symbols.is_none() && published.requests == 0;
        let pending = reader.pending.as_ref().map(|p| p.generation);
        if is_idle && pending == Some(published.generation) {
            return Ok(());
        }
        // A busy plugin is sampled a second later.
        let Ok(read) = tokio::time::timeout(READ_TIMEOUT, reader.read(plugin)).await else {
            return Ok(());
        };
        let Some((source, reading)) = read? else {
            return Ok(());
        };
        if is_idle {
            reader.pending = Some(PendingReading {
                at: now,
                generation: reader.generation,
                reading,
            });
            return Ok(());
        }
        // Samples are symbolized one at a time: each takes a thread, and no caller waits for them.
        let _turn = if is_query {
            None
        } else {
            Some(self.symbolizing.lock().await)
        };
        let current = reader.generation;
        let pending = reader.pending.take();
        if let Some(first) = pending.filter(|pending| pending.generation == current) {
            let snapshot = reader
                .symbolize(&self.loader, source.clone(), first.reading)
                .await?;
            heap.push(first.at, &snapshot);
        }
        let snapshot = reader.symbolize(&self.loader, source, reading).await?;
        heap.count_symbols(&reader);
        heap.push(now, &snapshot);
        reader.last_point = Some(LastPoint {
            at: now,
            live_bytes: snapshot.totals().live_bytes,
        });
        Ok(())
    }
}
