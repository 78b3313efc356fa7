//! Live bytes of every plugin by source line: snapshots, histories and baselines.
//!
//! A plugin's driver returns raw heap tables. This module combines them with the plugin's symbols,
//! on blocking threads and never on the request path. One reading per second goes into a bounded
//! history, so "what grew in the last five minutes" needs no baseline. Symbols are read when a
//! plugin has served requests or when a caller asks for them, so an idle lab does not hold them.

pub mod baselines;
mod sampling;
mod tracked;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use guest_heap::history::History;
use guest_heap::snapshot::Snapshot;
use tokio::sync::Mutex as AsyncMutex;

use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::load::loader::Loader;
use plugin_host::registry::contains_in_order;
use tracked::TrackedHeap;

/// The heaps of all plugins.
pub struct Heaps {
    loader: Loader,
    started: Instant,
    tracked: Mutex<BTreeMap<String, Arc<TrackedHeap>>>,
    /// Held while a sample is symbolized: one at a time.
    symbolizing: AsyncMutex<()>,
    /// Whether line tables were dropped since the allocator last returned its free pages.
    dropped_line_tables: AtomicBool,
}

/// A plugin and its heap.
pub struct PluginHeap {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Its heap now. For a plugin that has failed: its heap at that time.
    pub snapshot: Arc<Snapshot>,
}

/// How the caller chose the plugins whose heaps are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// By name: a heap that cannot be read is an error.
    Named,
    /// All plugins: a heap that cannot be read is left out.
    All,
}

impl Selection {
    /// The value that was read of a plugin. A failure is returned for a named plugin; otherwise it
    /// is logged, and the result is `None`.
    ///
    /// # Errors
    ///
    /// The failure, for [`Selection::Named`].
    pub fn accept<T>(
        self,
        plugin: &Plugin,
        read: Result<T, PluginError>,
    ) -> Result<Option<T>, PluginError> {
        match (read, self) {
            (Ok(value), _) => Ok(Some(value)),
            (Err(error), Selection::Named) => Err(error),
            (Err(error), Selection::All) => {
                tracing::warn!(plugin = plugin.id(), %error, "heap cannot be read, leaving it out");
                Ok(None)
            }
        }
    }
}

/// Bytes of the host's memory that all heaps take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeapsMemory {
    /// Symbols and call stacks.
    pub(crate) symbols: u64,
    /// Histories.
    pub(crate) histories: u64,
}

impl Heaps {
    /// No heaps yet. `loader` reads the components for their symbols.
    pub fn new(loader: Loader) -> Self {
        Heaps {
            loader,
            started: Instant::now(),
            tracked: Mutex::default(),
            symbolizing: AsyncMutex::default(),
            dropped_line_tables: AtomicBool::default(),
        }
    }

    /// The current time of the histories: the time since their start.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A point in time on the clock of the histories.
    pub(crate) fn time_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.started)
    }

    /// The heap of a plugin by source line, also after the plugin has failed. `None` for a plugin
    /// whose heap is not profiled.
    ///
    /// # Errors
    ///
    /// When the symbols cannot be read, or the plugin is being unloaded.
    pub async fn snapshot(
        &self,
        plugin: &Arc<Plugin>,
    ) -> Result<Option<Arc<Snapshot>>, PluginError> {
        let heap = self.tracked(plugin);
        let mut reader = heap.reader.lock().await;
        let Some((source, reading)) = reader.read(plugin).await? else {
            return Ok(None);
        };
        let snapshot = reader.symbolize(&self.loader, source, reading).await?;
        heap.count_symbols(&reader);
        Ok(Some(snapshot))
    }

    /// The heaps of several plugins, without those that are not profiled.
    ///
    /// # Errors
    ///
    /// Those of [`Heaps::snapshot`], for plugins that the caller named.
    pub async fn snapshots(
        &self,
        plugins: &[Arc<Plugin>],
        selection: Selection,
    ) -> Result<Vec<PluginHeap>, PluginError> {
        let mut heaps = Vec::with_capacity(plugins.len());
        for plugin in plugins {
            let snapshot = selection.accept(plugin, self.snapshot(plugin).await)?;
            heaps.extend(snapshot.flatten().map(|snapshot| PluginHeap {
                plugin: plugin.clone(),
                snapshot,
            }));
        }
        Ok(heaps)
    }

    /// Calls `read` with the history of a plugin.
    pub fn with_history<T>(&self, plugin: &Plugin, read: impl FnOnce(&History) -> T) -> T {
        let heap = self.tracked(plugin);
        let history = heap.history.lock().unwrap_or_else(PoisonError::into_inner);
        read(&history)
    }

    /// The history of a plugin, for a reader that outlives this call.
    pub fn history(&self, plugin: &Plugin) -> Arc<Mutex<History>> {
        self.tracked(plugin).history.clone()
    }

    /// Drops the heaps of all other plugins. `plugins` are in the order of their ids.
    pub fn retain_loaded(&self, plugins: &[Arc<Plugin>]) {
        let mut loaded = contains_in_order(plugins);
        self.lock().retain(|id, _| loaded(id));
    }

    pub(crate) fn memory_bytes(&self) -> HeapsMemory {
        let mut sum = HeapsMemory::default();
        for heap in self.lock().values() {
            sum.symbols += heap.symbol_bytes.load(Ordering::Relaxed);
            sum.histories += heap.history_bytes.load(Ordering::Relaxed);
        }
        sum
    }

    /// The heap of a plugin, which is tracked from now on.
    fn tracked(&self, plugin: &Plugin) -> Arc<TrackedHeap> {
        let mut tracked = self.lock();
        let known = tracked
            .get(plugin.id())
            .filter(|heap| heap.incarnation == plugin.incarnation());
        if let Some(heap) = known {
            return heap.clone();
        }
        let heap = Arc::new(TrackedHeap::new(plugin.incarnation()));
        tracked.insert(plugin.id().to_owned(), heap.clone());
        heap
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<TrackedHeap>>> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
