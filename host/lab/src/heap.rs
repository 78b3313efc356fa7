//! Which source line of which plugin holds the memory: the service's side of the heap profiler.
//!
//! A plugin's driver hands out raw books; here they are put together with the plugin's symbols, on blocking
//! threads and never on the way of a request. One reading a second goes into a bounded history, so that "what
//! grew in the last five minutes" needs no baseline. Symbols are read when a plugin has done something, or when
//! somebody asks: an idle lab does not hold them.

pub mod baselines;
mod sampling;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use guest_heap::history::History;
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::Symbols;
use guest_heap::{Context, ContextCursor, Reading};
use tokio::sync::Mutex as AsyncMutex;

use plugin_host::driver::PluginHeapTables;
use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::instance::backtrace::symbol_options;
use plugin_host::load::loader::{Loader, Origin};
use plugin_host::registry::contains_in_order;
use process_memory::allocator;

/// The heaps of all plugins.
pub struct Heaps {
    loader: Loader,
    started: Instant,
    views: Mutex<BTreeMap<String, Arc<View>>>,
    /// Held while a sample is put together.
    explaining: AsyncMutex<()>,
    /// Whether line tables were dropped since the allocator last gave pages back.
    released: AtomicBool,
}

/// What is known of one plugin's heap.
struct View {
    /// Whose it is: an id can be given to another plugin.
    life: u64,
    books: AsyncMutex<Known>,
    history: Mutex<History>,
    /// For the ledger: bytes of symbols and stacks.
    symbol_bytes: AtomicU64,
    /// For the ledger: bytes of the history.
    history_bytes: AtomicU64,
}

/// The last books, and what it takes to explain them.
#[derive(Default)]
struct Known {
    generation: u64,
    seen: ContextCursor,
    contexts: HashMap<u32, Context>,
    /// Bytes that the recorder's call stacks take.
    stack_bytes: usize,
    symbols: Option<(Arc<Origin>, Arc<Symbols>)>,
    /// A reading from before the symbols were read, for the history's first point.
    unexplained: Option<Unexplained>,
    pushed: Option<Pushed>,
}

/// A reading whose lines nobody needs yet.
struct Unexplained {
    at: Duration,
    /// Its contexts mean nothing to another one.
    generation: u64,
    reading: Reading,
}

/// What the history knows last.
#[derive(Clone, Copy)]
struct Pushed {
    at: Duration,
    live_bytes: u64,
}

/// A plugin with its attributed heap.
pub struct Attributed {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Its heap now, or as it was when it died.
    pub snapshot: Arc<Snapshot>,
}

/// Whether somebody has named the plugins whose heaps are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Those and no others.
    ByName,
    /// All that there are.
    ForAll,
}

impl Asked {
    /// What was read of a plugin; none, and a line in the log, if that failed and nobody had named it.
    pub fn or_none<T>(
        self,
        plugin: &Plugin,
        read: Result<T, PluginError>,
    ) -> Result<Option<T>, PluginError> {
        match (read, self) {
            (Ok(read), _) => Ok(Some(read)),
            (Err(error), Asked::ByName) => Err(error),
            (Err(error), Asked::ForAll) => {
                tracing::warn!(plugin = plugin.id(), %error, "its heap is left out");
                Ok(None)
            }
        }
    }
}

impl Heaps {
    /// Knows nothing yet.
    pub fn new(loader: Loader) -> Self {
        Heaps {
            loader,
            started: Instant::now(),
            views: Mutex::default(),
            explaining: AsyncMutex::default(),
            released: AtomicBool::default(),
        }
    }

    /// The time on the clock of the histories.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The attributed heap of a plugin; none when it keeps no books. Works for one that has died too.
    ///
    /// # Errors
    ///
    /// When its symbols cannot be read, or it is being unloaded.
    pub async fn snapshot(
        &self,
        plugin: &Arc<Plugin>,
    ) -> Result<Option<Arc<Snapshot>>, PluginError> {
        let view = self.view(plugin);
        let mut known = view.books.lock().await;
        let Some(reading) = read(plugin, &mut known).await? else {
            return Ok(None);
        };
        let snapshot = self
            .explain(&view, &mut known, reading.0, reading.1)
            .await?;
        Ok(Some(snapshot))
    }

    /// The attributed heaps of some plugins; those that keep no books are left out. So is one whose heap cannot be read,
    /// which is no reason to hide the others, unless it was asked for.
    ///
    /// # Errors
    ///
    /// As [`Heaps::snapshot`], of plugins that were asked for.
    pub async fn snapshots(
        &self,
        plugins: &[Arc<Plugin>],
        asked: Asked,
    ) -> Result<Vec<Attributed>, PluginError> {
        let mut all = Vec::with_capacity(plugins.len());
        for plugin in plugins {
            let snapshot = asked.or_none(plugin, self.snapshot(plugin).await)?;
            all.extend(snapshot.flatten().map(|snapshot| Attributed {
                plugin: plugin.clone(),
                snapshot,
            }));
        }
        Ok(all)
    }

    /// What a plugin's history tells.
    pub fn with_history<T>(&self, plugin: &Plugin, ask: impl FnOnce(&History) -> T) -> T {
        let view = self.view(plugin);
        let history = view.history.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&history)
    }

    /// Bytes of the host's memory that symbols and call stacks take, and that histories take.
    pub fn memory_bytes(&self) -> (u64, u64) {
        let views: Vec<Arc<View>> = self.lock().values().cloned().collect();
        views.iter().fold((0, 0), |(symbols, histories), view| {
            (
                symbols + view.symbol_bytes.load(Ordering::Relaxed),
                histories + view.history_bytes.load(Ordering::Relaxed),
            )
        })
    }

    /// Forgets the heaps of all but these plugins, which are in the order of their ids.
    pub fn keep_only(&self, plugins: &[Arc<Plugin>]) {
        let mut loaded = contains_in_order(plugins);
        self.lock().retain(|id, _| loaded(id));
    }

    /// Puts books and symbols together, on a blocking thread.
    async fn explain(
        &self,
        view: &View,
        known: &mut Known,
        origin: Arc<Origin>,
        reading: Reading,
    ) -> Result<Arc<Snapshot>, PluginError> {
        let mut fresh = false;
        let symbols = match &known.symbols {
            Some((of, symbols)) if of.digest == origin.digest => symbols.clone(),
            _ => {
                let (loader, of) = (self.loader.clone(), origin.clone());
                let symbols = plugin_host::blocking::run_blocking(move || {
                    let component = loader.original(&of)?;
                    Symbols::new(&component, symbol_options()).map_err(|e| {
                        PluginError::Refused(format!("its symbols cannot be read: {e}"))
                    })
                })
                .await?;
                let symbols = Arc::new(symbols);
                fresh = true;
                known.symbols = Some((origin, symbols.clone()));
                symbols
            }
        };
        // The contexts go to the blocking thread and come back: nothing is copied. Should this call be given
        // up meanwhile, they are lost, and the next reading starts from nothing.
        let generation = std::mem::take(&mut known.generation);
        let contexts = std::mem::take(&mut known.contexts);
        let (snapshot, contexts) = plugin_host::blocking::run_blocking(move || {
            let snapshot = Snapshot::new(&reading, |index| contexts.get(&index).cloned(), symbols);
            if fresh {
                // Reading line tables for the first time takes many times what is kept of them.
                allocator::release_free_pages();
            }
            Ok((Arc::new(snapshot), contexts))
        })
        .await?;
        known.contexts = contexts;
        known.generation = generation;
        account(view, known, snapshot.symbols());
        Ok(snapshot)
    }

    fn view(&self, plugin: &Plugin) -> Arc<View> {
        let mut views = self.lock();
        if let Some(view) = views
            .get(plugin.id())
            .filter(|v| v.life == plugin.incarnation())
        {
            return view.clone();
        }
        let history = History::new();
        let view = Arc::new(View {
            life: plugin.incarnation(),
            books: AsyncMutex::default(),
            symbol_bytes: AtomicU64::default(),
            history_bytes: AtomicU64::new(history.memory_bytes() as u64),
            history: Mutex::new(history),
        });
        views.insert(plugin.id().to_owned(), view.clone());
        view
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<View>>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the driver for the books, with the contexts that are not known yet.
async fn read(
    plugin: &Plugin,
    known: &mut Known,
) -> Result<Option<(Arc<Origin>, Reading)>, PluginError> {
    let seen = std::mem::take(&mut known.seen);
    // If the answer is lost, the next one starts from nothing.
    let generation = std::mem::take(&mut known.generation);
    let Some(answer) = plugin.heap_tables((generation, seen)).await? else {
        return Ok(None);
    };
    let PluginHeapTables {
        generation: current,
        tables,
        seen,
        origin,
    } = answer;
    if current != generation {
        known.contexts.clear();
    }
    known.stack_bytes = tables.recorder_bytes;
    known.contexts.extend(tables.contexts);
    known.generation = current;
    known.seen = seen;
    Ok(Some((origin, tables.reading)))
}

/// Tells the ledger what a plugin's symbols and call stacks take now.
fn account(view: &View, known: &Known, symbols: &Symbols) {
    let stacks = known.stack_bytes + known.contexts.len() * size_of::<(u32, Context)>();
    let bytes = symbols.memory_bytes() + stacks;
    view.symbol_bytes.store(bytes as u64, Ordering::Relaxed);
}
