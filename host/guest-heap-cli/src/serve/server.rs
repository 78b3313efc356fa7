//! The server: its settings, and what its parts share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use guest_heap::symbols::Symbols;
use tokio::sync::watch;
use wasmtime::Engine;
use wasmtime_wasi_http::handler::ProxyPre;

use crate::arguments::ServeArguments;
use crate::guest::{linker, prepare};
use crate::heap::{Heap, RawHeap};
use crate::host_state::{HostState, World};
use crate::load::LoadedComponent;
use crate::one_request::OneRequestSigns;
use crate::serve::heap_requests::{CountedHeap, HeapRequests};
use crate::serve::tally::Tally;
use crate::service::Interface;
use crate::trap::GuestError;

/// Requests that an instance of WASI 0.3 handles at a time, and instances with
/// `--instance-per-request`.
pub(super) const MAX_CONCURRENCY: usize = 64;

/// Time within which the live instance must answer a question for its heap.
const HEAP_TIMEOUT: Duration = Duration::from_secs(5);

/// The server of one component.
pub(super) struct Server {
    pub(super) engine: Engine,
    pub(super) service: ProxyPre<HostState>,
    pub(super) interface: Interface,
    pub(super) loaded: LoadedComponent,
    pub(super) arguments: ServeArguments,
    pub(super) timeout: Duration,
    pub(super) instance_per_request: bool,
    /// Requests that an instance handles at a time.
    pub(super) concurrency: usize,
    pub(super) heap_requests: Arc<HeapRequests>,
    pub(super) tally: Tally,
    pub(super) one_request_signs: Mutex<OneRequestSigns>,
    /// The call stack of the last trap, which is printed once.
    pub(super) last_trap: Mutex<String>,
    /// True from the moment at which the server is to stop.
    pub(super) stop: watch::Sender<bool>,
}

impl Server {
    /// # Errors
    /// When the component is no HTTP service, or imports something other than WASI.
    pub(super) fn new(
        engine: &Engine,
        loaded: LoadedComponent,
        arguments: ServeArguments,
    ) -> Result<Self> {
        let interface = Interface::of(&loaded.component, engine)?;
        let pre = prepare(engine, &linker(engine)?, &loaded.component)?;
        let concurrency = match interface {
            Interface::IncomingHandler if !arguments.instance_per_request => 1,
            _ => MAX_CONCURRENCY,
        };
        Ok(Self {
            engine: engine.clone(),
            service: interface.prepare(pre)?,
            interface,
            loaded,
            timeout: arguments.timeout,
            instance_per_request: arguments.instance_per_request,
            concurrency,
            arguments,
            heap_requests: Arc::default(),
            tally: Tally::default(),
            one_request_signs: Mutex::default(),
            last_trap: Mutex::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// The name of the guest in profiles: that of its file.
    pub(super) fn name(&self) -> String {
        let stem = self.arguments.component.file.file_stem();
        stem.unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn symbols(&self) -> &Arc<Symbols> {
        &self.loaded.symbols
    }

    /// The state of a new instance, whose linear memories can grow to so many bytes.
    pub(super) fn new_state(&self, max_memory: u64) -> Result<HostState> {
        let component = &self.arguments.component;
        HostState::new(&self.loaded, component, &[], World::Inherited, max_memory)
    }

    /// Reads the heap of the live instance. Without one, the heap of the instance that has ended
    /// last.
    ///
    /// # Errors
    /// When there was no instance yet, or the guest waits in a call of the host for too long.
    pub(super) async fn heap(&self) -> Result<CountedHeap> {
        let last_ended = || {
            let summary = self.tally.summary();
            summary
                .last_ended
                .context("no request has been handled yet")
        };
        if self.instance_per_request || *self.stop.borrow() {
            return last_ended();
        }
        let answer = tokio::time::timeout(HEAP_TIMEOUT, self.heap_requests.ask()).await;
        match answer {
            Ok(Ok(heap)) => Ok(heap),
            Ok(Err(_closed)) => last_ended(),
            Err(_elapsed) => anyhow::bail!(
                "the guest waits in a call of the host, so its heap cannot be read now; try again"
            ),
        }
    }

    /// Reads the heap and finds the names.
    ///
    /// # Errors
    /// As [`Server::heap`].
    pub(super) async fn snapshot(&self) -> Result<(CountedHeap, Heap)> {
        let counted = self.heap().await?;
        let heap = self.symbolize(&counted.heap).await?;
        Ok((counted, heap))
    }

    /// Prints where the guest has trapped, unless the last trap was there, too.
    pub(super) fn print_trap(self: &Arc<Self>, error: GuestError) {
        let server = self.clone();
        // It reads line tables.
        tokio::task::spawn_blocking(move || {
            let stack = error.call_stack(server.symbols());
            let last = server.last_trap.lock();
            let mut last = last.unwrap_or_else(PoisonError::into_inner);
            if *last != stack {
                stderr_text!("{}", stack);
                *last = stack;
            }
        });
    }

    /// Finds the names of a heap, on a thread that may block.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub(super) async fn symbolize(&self, heap: &Arc<RawHeap>) -> Result<Heap> {
        let (heap, symbols) = (heap.clone(), self.symbols().clone());
        Ok(tokio::task::spawn_blocking(move || heap.symbolize(&symbols)).await?)
    }
}
