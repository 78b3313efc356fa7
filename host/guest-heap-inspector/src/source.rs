//! The interface between an inspector and the host that runs the guests.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guest_heap::history::History;
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::Symbols;
use guest_heap::{Attribution, Context, LiveRange, Reading, Recorder};
use wasmtime::AsContext;

/// The guests of a host, and how to read their heaps.
pub trait HeapSource: Send + Sync + 'static {
    /// The names of the guests that run now. They may change at any time.
    fn guests(&self) -> Vec<String>;

    /// Reads the heap of a guest. The inspector calls it once a second for each guest, and when a
    /// query needs a newer reading, but not twice at a time for a guest that has a history.
    ///
    /// It may wait for a call into the guest to end. If it takes too long, the inspector drops the
    /// future.
    ///
    /// # Errors
    ///
    /// See [`HeapError`].
    fn read(&self, guest: &str) -> impl Future<Output = Result<HeapReading, HeapError>> + Send;

    /// The history of a guest, if the host keeps one itself. By default the inspector keeps it.
    fn history(&self, guest: &str) -> Option<KeptHistory> {
        let _ = guest;
        None
    }
}

/// The history of one guest.
#[derive(Debug, Clone)]
pub struct KeptHistory {
    /// The readings.
    pub history: Arc<Mutex<History>>,
    /// The time now, on the clock of the readings.
    pub now: Duration,
}

impl KeptHistory {
    pub(crate) fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a heap cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HeapError {
    /// No guest has the name, or it has ended.
    #[error("there is no such guest now")]
    Unknown,
    /// The guest is in a call that does not end.
    #[error("the guest is busy")]
    Busy,
    /// Another reason, as text for the client.
    #[error("{0}")]
    Failed(String),
}

/// The counts of one guest's heap. Taking one is quick: names and lines are looked up later, when
/// the store is free again.
pub struct HeapReading {
    pub(crate) counts: Counts,
    pub(crate) attribution: Attribution,
    pub(crate) live_range: LiveRange,
    pub(crate) calls: Option<u64>,
    pub(crate) linear_memory: Option<u64>,
}

/// The counts with or without the lines.
pub(crate) enum Counts {
    Raw {
        reading: Box<Reading>,
        contexts: HashMap<u32, Context>,
        symbols: Arc<Symbols>,
    },
    Symbolized(Arc<Snapshot>),
}

impl HeapReading {
    /// Reads the heap of the guest in a store. It also works after a trap.
    pub fn new(recorder: &Recorder, store: impl AsContext, symbols: &Arc<Symbols>) -> Self {
        let store = store.as_context();
        let reading = recorder.read(&store);
        let numbers = reading.context_numbers();
        let contexts = numbers.map(|number| (number, recorder.context(&store, number)));
        Self {
            attribution: reading.attribution(recorder.meta()),
            live_range: reading.live_range(recorder.meta()),
            calls: None,
            linear_memory: None,
            counts: Counts::Raw {
                contexts: contexts.collect(),
                reading: Box::new(reading),
                symbols: symbols.clone(),
            },
        }
    }

    /// A heap that the host has symbolized already.
    pub fn of_snapshot(
        snapshot: Arc<Snapshot>,
        attribution: Attribution,
        live_range: LiveRange,
    ) -> Self {
        Self {
            counts: Counts::Symbolized(snapshot),
            attribution,
            live_range,
            calls: None,
            linear_memory: None,
        }
    }

    /// Adds the number of calls, such as requests, that the guest has served since its start. With
    /// it the inspector shows bytes per call.
    #[must_use]
    pub fn with_calls(mut self, calls: u64) -> Self {
        self.calls = Some(calls);
        self
    }

    /// Adds the bytes of all linear memories, without those of the profiler, as the host's limiter
    /// counts them. With it the inspector knows the linear memory of guests that are not
    /// instrumented, too.
    #[must_use]
    pub fn with_linear_memory(mut self, bytes: u64) -> Self {
        self.linear_memory = Some(bytes);
        self
    }
}

impl Counts {
    /// Looks up the lines. This can take long: run it where blocking is allowed.
    pub(crate) fn symbolize(self) -> Arc<Snapshot> {
        match self {
            Counts::Symbolized(snapshot) => snapshot,
            Counts::Raw {
                reading,
                contexts,
                symbols,
            } => {
                let context = |index| contexts.get(&index).cloned();
                Arc::new(Snapshot::new(&reading, context, symbols))
            }
        }
    }
}

type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<HeapReading, HeapError>> + Send + 'a>>;

/// A [`HeapSource`] of any type.
pub(crate) trait AnySource: Send + Sync + 'static {
    fn guests(&self) -> Vec<String>;
    fn read<'a>(&'a self, guest: &'a str) -> ReadFuture<'a>;
    fn history(&self, guest: &str) -> Option<KeptHistory>;
}

impl<S: HeapSource> AnySource for S {
    fn guests(&self) -> Vec<String> {
        HeapSource::guests(self)
    }

    fn read<'a>(&'a self, guest: &'a str) -> ReadFuture<'a> {
        Box::pin(HeapSource::read(self, guest))
    }

    fn history(&self, guest: &str) -> Option<KeptHistory> {
        HeapSource::history(self, guest)
    }
}
