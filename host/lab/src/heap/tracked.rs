//! One plugin's heap: how it is read, symbolized, and counted in the ledger.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guest_heap::history::History;
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::Symbols;
use guest_heap::{Context, ContextCursor, Reading};
use tokio::sync::Mutex as AsyncMutex;

use plugin_host::blocking::run_blocking;
use plugin_host::driver::PluginHeapTables;
use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::load::component_source::ComponentSource;
use plugin_host::load::loader::Loader;
use process_memory::allocator;

/// The reader and the history of one plugin's heap.
pub(super) struct TrackedHeap {
    /// Distinguishes the plugin from an earlier one with the same id.
    pub(super) incarnation: u64,
    pub(super) reader: AsyncMutex<HeapReader>,
    pub(super) history: Arc<Mutex<History>>,
    /// Bytes of symbols and call stacks, for the ledger.
    pub(super) symbol_bytes: AtomicU64,
    /// Bytes of the history, for the ledger.
    pub(super) history_bytes: AtomicU64,
}

impl TrackedHeap {
    pub(super) fn new(incarnation: u64) -> Self {
        let history = History::new();
        TrackedHeap {
            incarnation,
            reader: AsyncMutex::default(),
            symbol_bytes: AtomicU64::default(),
            history_bytes: AtomicU64::new(history.memory_bytes() as u64),
            history: Arc::new(Mutex::new(history)),
        }
    }

    /// Adds a point to the history.
    pub(super) fn push(&self, at: Duration, snapshot: &Snapshot) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push(at, snapshot);
        let bytes = history.memory_bytes() as u64;
        self.history_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Updates the bytes of symbols and call stacks in the ledger.
    pub(super) fn count_symbols(&self, reader: &HeapReader) {
        let bytes = reader.memory_bytes() as u64;
        self.symbol_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Reads and symbolizes one plugin's heap. It keeps the parts that do not change between readings.
#[derive(Default)]
pub(super) struct HeapReader {
    /// The instance that `cursor` and `contexts` belong to.
    pub(super) generation: u64,
    /// The contexts that the driver has sent already.
    cursor: ContextCursor,
    contexts: HashMap<u32, Context>,
    /// Bytes of the recorder's call stacks.
    recorder_bytes: usize,
    /// The symbols, and the component that they are of.
    pub(super) symbols: Option<(Arc<ComponentSource>, Arc<Symbols>)>,
    pub(super) pending: Option<PendingReading>,
    pub(super) last_point: Option<LastPoint>,
}

/// A reading of an idle plugin that is not symbolized yet. It becomes the first point of the
/// history.
pub(super) struct PendingReading {
    pub(super) at: Duration,
    /// The instance: contexts of one instance mean nothing in another.
    pub(super) generation: u64,
    pub(super) reading: Reading,
}

/// The newest point of the history.
#[derive(Clone, Copy)]
pub(super) struct LastPoint {
    pub(super) at: Duration,
    pub(super) live_bytes: u64,
}

impl HeapReader {
    /// Asks the driver for the heap tables, and for the contexts that are new. `None` for a plugin
    /// whose heap is not profiled.
    ///
    /// # Errors
    ///
    /// When the plugin is being unloaded.
    pub(super) async fn read(
        &mut self,
        plugin: &Plugin,
    ) -> Result<Option<(Arc<ComponentSource>, Reading)>, PluginError> {
        // If the answer is lost, the next reading asks for all contexts again.
        let cursor = std::mem::take(&mut self.cursor);
        let generation = std::mem::take(&mut self.generation);
        let Some(answer) = plugin.heap_tables((generation, cursor)).await? else {
            return Ok(None);
        };
        let PluginHeapTables {
            generation: current,
            tables,
            seen: cursor,
            source,
        } = answer;
        if current != generation {
            self.contexts.clear();
        }
        self.recorder_bytes = tables.recorder_bytes;
        self.contexts.extend(tables.contexts);
        self.generation = current;
        self.cursor = cursor;
        Ok(Some((source, tables.reading)))
    }

    /// Combines a reading with the symbols, on a blocking thread.
    ///
    /// # Errors
    ///
    /// When the component or its symbols cannot be read.
    pub(super) async fn symbolize(
        &mut self,
        loader: &Loader,
        source: Arc<ComponentSource>,
        reading: Reading,
    ) -> Result<Arc<Snapshot>, PluginError> {
        let known = self.symbols.as_ref();
        let known = known.filter(|(known, _)| known.digest == source.digest);
        let is_first = known.is_none();
        let symbols = match known {
            Some((_, symbols)) => symbols.clone(),
            None => {
                let symbols = read_symbols(loader, &source).await?;
                self.symbols = Some((source, symbols.clone()));
                symbols
            }
        };
        // The contexts move to the blocking thread and back, without a copy. If this call is
        // cancelled meanwhile, they are lost, and the next reading asks for all of them again.
        let generation = std::mem::take(&mut self.generation);
        let contexts = std::mem::take(&mut self.contexts);
        let (snapshot, contexts) = run_blocking(move || {
            let snapshot = Snapshot::new(&reading, |index| contexts.get(&index).cloned(), symbols);
            if is_first {
                // Reads the list of compilation units while this thread may block.
                snapshot.symbols().line_tables();
                // The first use of line tables takes many times the memory that is kept of them.
                allocator::release_free_pages();
            }
            Ok((Arc::new(snapshot), contexts))
        })
        .await?;
        self.contexts = contexts;
        self.generation = generation;
        Ok(snapshot)
    }

    /// Bytes of symbols and call stacks.
    fn memory_bytes(&self) -> usize {
        let symbols = self.symbols.as_ref().map_or(0, |(_, s)| s.memory_bytes());
        symbols + self.recorder_bytes + self.contexts.len() * size_of::<(u32, Context)>()
    }
}

async fn read_symbols(
    loader: &Loader,
    source: &Arc<ComponentSource>,
) -> Result<Arc<Symbols>, PluginError> {
    let (loader, source) = (loader.clone(), source.clone());
    run_blocking(move || Ok(Arc::new(loader.read_symbols(&loader.original(&source)?)?))).await
}
