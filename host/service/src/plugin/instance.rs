//! One instance of a plugin: the store and the typed calls into it. Nothing else touches a store.
//!
//! Every call runs under two deadlines: the engine's clock counts the ticks that the guest has been running
//! for, and a timer ends what waits in the host (a guest that sleeps). After a fault the instance is only
//! read, never called.

mod fault;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use guest_heap::{Attribution, ContextCursor, Recorder, Totals};
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::error::{Fault, PluginError};
use super::guest_log::{GuestLog, Level};
use super::limiter::Limiter;
use super::loader::Loaded;
use super::manifest::{Manifest, value_to_wit};
use super::request::Request;
use super::settings::{Settings, Spec, Value};
use crate::bindings::LeakPlugin;
use crate::bindings::exports::leak_lab::plugin::leak as wit;
use crate::bindings::leak_lab::plugin::logging;
use crate::engine::TICK;

use fault::{fault, too_long};

/// A call that waits in the host, or is never scheduled, ends after this many deadlines of real time.
const WAIT_FACTOR: u32 = 2;

/// Time that starting an instance may take: a language runtime may have much to do.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// What the guest's calls into the host work on.
pub(crate) struct StoreState {
    wasi: WasiCtx,
    table: ResourceTable,
    limiter: Limiter,
    log: GuestLog,
    recorder: Recorder,
    ticks_left: u64,
}

impl StoreState {
    /// Where the heap profiler in the guest reports to.
    pub(super) fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }
}

impl WasiView for StoreState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl logging::Host for StoreState {
    fn log(&mut self, level: logging::Level, message: String) {
        let level = match level {
            logging::Level::Trace => Level::Trace,
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
        };
        self.log.line(level, &message);
    }
}

/// What a pattern holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Retained {
    /// Objects in the manifest's unit.
    pub(crate) objects: u64,
    /// Bytes.
    pub(crate) bytes: u64,
}

/// The linear memory of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LinearMemory {
    /// Bytes it has. Never less than before.
    pub(crate) bytes: u64,
    /// Bytes it may have.
    pub(crate) limit: u64,
    /// Growths granted.
    pub(crate) grows: u64,
    /// Growths refused.
    pub(crate) denials: u64,
}

/// The heap of an instance in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeapGlance {
    /// Bytes that the guest's allocator has handed out and not got back.
    pub(crate) live_bytes: u64,
    /// Allocations that found no context of their own.
    pub(crate) overflowed: u64,
    /// Bytes of the profiler's own memory in the guest.
    pub(crate) profiler_bytes: u64,
}

/// The books of an instance's heap at one moment.
#[derive(Debug)]
pub(crate) struct Books {
    /// What each call stack holds.
    pub(crate) reading: guest_heap::Reading,
    /// The call stacks that the reader did not know yet.
    pub(crate) contexts: Vec<(u32, guest_heap::Context)>,
    /// Bytes of the host's memory that the stacks take.
    pub(crate) recorder_bytes: usize,
}

/// What one request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether the pattern ran.
    pub(crate) triggered: bool,
    /// What it holds now.
    pub(crate) retained: Retained,
}

/// A live instance.
pub(crate) struct Instance {
    store: Store<StoreState>,
    guest: LeakPlugin,
}

impl From<wit::Retention> for Retained {
    fn from(r: wit::Retention) -> Self {
        Retained {
            objects: r.objects.min(REPORTED_MAX),
            bytes: r.bytes.min(REPORTED_MAX),
        }
    }
}

/// The most that a guest is believed: whole numbers are exact in JSON up to there, and sums of them fit.
const REPORTED_MAX: u64 = 1 << 53;

impl Instance {
    /// Instantiates a component and runs its start-up code.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when it traps, takes too long, or needs more memory than `memory_limit`.
    pub(crate) async fn start(
        loaded: &Loaded,
        log_name: &str,
        memory_limit: u64,
    ) -> Result<Self, Fault> {
        let engine: &Engine = loaded.pre.engine();
        let log = GuestLog::new(log_name);
        // An empty world: no folder is opened, no variable set, no argument passed, no address allowed.
        let wasi = WasiCtxBuilder::new()
            .stdout(log.stdout())
            .stderr(log.stderr())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let state = StoreState {
            wasi,
            table: ResourceTable::new(),
            limiter: Limiter::new(memory_limit, loaded.meta.clone()),
            log,
            recorder: Recorder::new(loaded.meta.clone()),
            ticks_left: ticks(START_DEADLINE),
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            let state = context.data_mut();
            state.ticks_left = state.ticks_left.saturating_sub(1);
            Ok(if state.ticks_left == 0 {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Yield(1)
            })
        });
        match within(START_DEADLINE, loaded.pre.instantiate_async(&mut store)).await {
            Ok(Ok(guest)) => Ok(Instance { store, guest }),
            Ok(Err(error)) => Err(fault(store.data_mut(), &error, START_DEADLINE)),
            Err(TooLong) => Err(too_long(START_DEADLINE)),
        }
    }

    /// Asks the guest what it is.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when it does not answer or answers what is not allowed.
    pub(crate) async fn describe(&mut self) -> Result<Manifest, PluginError> {
        let store = begin(&mut self.store, START_DEADLINE);
        let answer = within(
            START_DEADLINE,
            self.guest.leak_lab_plugin_leak().call_describe(store),
        )
        .await;
        let manifest = self.settle(answer, START_DEADLINE).map_err(|fault| {
            PluginError::Refused(format!(
                "the component failed when asked what it is: {fault}"
            ))
        })?;
        Manifest::check(manifest)
    }

    /// Tells the guest the values of some of its settings. The inner error is the guest's own refusal.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn configure<'a>(
        &mut self,
        values: impl Iterator<Item = (&'a Spec, &'a Value)>,
        deadline: Duration,
    ) -> Result<Result<(), PluginError>, Fault> {
        let values: Vec<(&str, wit::Value)> = values
            .filter_map(|(spec, value)| Some((spec.name.as_str(), value_to_wit(value)?)))
            .collect();
        if values.is_empty() {
            return Ok(Ok(()));
        }
        let settings: Vec<wit::Setting<'_>> = values
            .iter()
            .map(|(name, value)| wit::Setting { name, value })
            .collect();
        let store = begin(&mut self.store, deadline);
        let call = self
            .guest
            .leak_lab_plugin_leak()
            .call_configure(store, &settings);
        let answer = within(deadline * WAIT_FACTOR, call).await;
        let refusal = self.settle(answer, deadline)?;
        Ok(refusal.map_err(|e| PluginError::InvalidValue {
            name: e.name,
            message: e.message,
        }))
    }

    /// Hands the guest one request. The inner error is the guest's own message.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn on_request(
        &mut self,
        request: &Request,
        deadline: Duration,
    ) -> Result<Result<Outcome, String>, Fault> {
        let store = begin(&mut self.store, deadline);
        let headers = request.headers();
        let guest = self.guest.leak_lab_plugin_leak();
        let answer = {
            // In its place from the start: it is large, and moving it would cost as much as a part of the call.
            let call = pin!(guest.call_on_request(store, request.to_wit(&headers)));
            within(deadline * WAIT_FACTOR, call).await
        };
        let outcome = self.settle(answer, deadline)?;
        Ok(outcome.map(|o| Outcome {
            triggered: o.triggered,
            retained: o.retained.into(),
        }))
    }

    /// Asks what the pattern holds.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn retained(&mut self, deadline: Duration) -> Result<Retained, Fault> {
        let store = begin(&mut self.store, deadline);
        let answer = within(
            deadline * WAIT_FACTOR,
            self.guest.leak_lab_plugin_leak().call_retained(store),
        )
        .await;
        self.settle(answer, deadline).map(Retained::from)
    }

    /// Drops what the pattern holds, and says what that was.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn clear(&mut self, deadline: Duration) -> Result<Retained, Fault> {
        let store = begin(&mut self.store, deadline);
        let answer = within(
            deadline * WAIT_FACTOR,
            self.guest.leak_lab_plugin_leak().call_clear(store),
        )
        .await;
        self.settle(answer, deadline).map(Retained::from)
    }

    /// The linear memory; readable after a fault too.
    pub(crate) fn linear_memory(&self) -> LinearMemory {
        let limiter = &self.store.data().limiter;
        LinearMemory {
            bytes: limiter.linear_bytes(),
            limit: limiter.limit(),
            grows: limiter.grows(),
            denials: limiter.denials(),
        }
    }

    /// The heap in short, quick enough for after each call; nothing without attribution. Readable after a fault too.
    pub(crate) fn heap(&self) -> Option<HeapGlance> {
        let state = self.attributed()?;
        let glance = state.recorder.live_summary(&self.store);
        Some(HeapGlance {
            live_bytes: glance.live_bytes,
            overflowed: glance.overflowed,
            profiler_bytes: state.limiter.profiler_bytes(),
        })
    }

    /// Sums over all call stacks; nothing without attribution. Readable after a fault too.
    pub(crate) fn heap_totals(&self) -> Option<Totals> {
        let state = self.attributed()?;
        Some(state.recorder.totals(&self.store))
    }

    fn attributed(&self) -> Option<&StoreState> {
        let state = self.store.data();
        let off = matches!(state.recorder.meta().attribution(), Attribution::Off { .. });
        (!off).then_some(state)
    }

    /// The books of the heap, with the contexts that `seen` does not have yet. Readable after a fault too.
    pub(crate) fn books(&self, seen: &mut ContextCursor) -> Books {
        let recorder = &self.store.data().recorder;
        Books {
            reading: recorder.read(&self.store),
            contexts: recorder.new_contexts(&self.store, seen),
            recorder_bytes: recorder.memory_bytes(),
        }
    }

    /// Moves the memory limit. What the instance already has stays.
    pub(crate) fn set_memory_limit(&mut self, limit: u64) {
        self.store.data_mut().limiter.set_limit(limit);
    }

    fn settle<T>(
        &mut self,
        answer: Result<wasmtime::Result<T>, TooLong>,
        deadline: Duration,
    ) -> Result<T, Fault> {
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(fault(self.store.data_mut(), &error, deadline)),
            Err(TooLong) => Err(too_long(deadline)),
        }
    }
}

/// Waits for a call, which may wait in the host for so long. Most do not wait at all: then no timer is made.
async fn within<C: Future>(most: Duration, call: C) -> Result<C::Output, TooLong> {
    let (mut call, mut timer) = (pin!(call), pin!(None));
    poll_fn(|context| {
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        if timer.is_none() {
            timer.set(Some(tokio::time::sleep(most)));
        }
        let timer = timer.as_mut().as_pin_mut();
        timer.map_or(Poll::Pending, |timer| {
            timer.poll(context).map(|()| Err(TooLong))
        })
    })
    .await
}

/// A call waited too long in the host.
struct TooLong;

/// Readies a store for one call.
fn begin(store: &mut Store<StoreState>, deadline: Duration) -> &mut Store<StoreState> {
    let state = store.data_mut();
    state.ticks_left = ticks(deadline);
    state.limiter.take_denied();
    store.set_epoch_deadline(1);
    store
}

/// Ticks of the engine's clock that make up `deadline`, and one for the tick that has begun.
fn ticks(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis() / TICK.as_millis().max(1))
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

/// The settings that a fresh instance has to be told: those that differ from the declared defaults.
pub(crate) fn told_at_start<'a>(
    settings: &'a Settings,
    defaults: &'a Settings,
) -> impl Iterator<Item = (&'a Spec, &'a Value)> {
    settings.plugin_changes(defaults)
}
