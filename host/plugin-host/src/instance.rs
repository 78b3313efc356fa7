//! One instance of a plugin: the store and the typed calls into it. No other module touches a
//! store.
//!
//! Every call has two time limits. The engine's clock counts the ticks while the guest runs. A
//! timer ends a call that waits in the host, such as a guest that sleeps. After a fault the host
//! only reads the instance and never calls it.

pub mod backtrace;
mod deadline;
mod fault;
mod guest_log;
mod limiter;
mod readings;
pub mod request;
mod store_state;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use guest_heap::{ContextCursor, InstrumentedMeta, Recorder, Totals};
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtxBuilder;

use crate::bindings::exports::leak_lab::plugin::leak as wit;
use crate::bindings::{LeakPlugin, LeakPluginPre};
use crate::error::{Fault, PluginError};
use crate::guest_text;
use crate::instance::deadline::{TickBudget, TimedOut, with_timeout};
use crate::instance::guest_log::GuestLog;
use crate::instance::limiter::Limiter;
use crate::instance::request::GuestRequest;
use crate::settings::wit::to_wit;
use crate::settings::{SettingSpec, Value};

pub(crate) use self::fault::timed_out;
pub(crate) use self::limiter::Size;
pub(crate) use self::readings::{HeapSummary, RequestOutcome};
pub use self::readings::{HeapTables, LinearMemory, Retained};
pub(crate) use self::store_state::StoreState;

/// A call that waits in the host, or is never scheduled, ends after this many deadlines of real
/// time.
pub(crate) const MAX_CALL_DEADLINES: u32 = 2;

/// The longest that the start of an instance may take: a language runtime may have much to do.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(10);

/// The most bytes that one call passes from the guest to the host. Only texts are that long, and
/// the host keeps 8 KiB of each.
const MAX_HOSTCALL_BYTES: usize = 16 << 20;

/// The most handles of a guest: streams, clocks and its own resources. Each takes some 100 bytes of
/// the host.
const MAX_HANDLES: usize = 10_000;

/// A live instance.
pub(crate) struct Instance {
    store: Store<StoreState>,
    guest: LeakPlugin,
}

impl Instance {
    /// Instantiates a component and runs its start-up code.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when it traps, takes too long, or needs more linear memory than `memory_limit`
    /// bytes.
    ///
    /// The guest's output is logged under `log_name`, or dropped without one.
    pub(crate) async fn start(
        pre: &LeakPluginPre<StoreState>,
        meta: &Arc<InstrumentedMeta>,
        log_name: Option<&str>,
        memory_limit: u64,
    ) -> Result<Self, Fault> {
        let log = log_name.map_or_else(GuestLog::dropped, GuestLog::new);
        // An empty world: no folder, no environment variable, no argument, no network address.
        let wasi = WasiCtxBuilder::new()
            .stdout(log.stdout())
            .stderr(log.stderr())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let state = StoreState {
            wasi,
            table,
            limiter: Limiter::new(memory_limit, meta.clone()),
            log,
            recorder: Recorder::new(meta.clone()),
            ticks: TickBudget::new(START_DEADLINE),
        };
        let mut store = Store::new(pre.engine(), state);
        store.limiter_async(|state| &mut state.limiter);
        store.set_hostcall_fuel(MAX_HOSTCALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| Ok(context.data_mut().ticks.tick()));
        match with_timeout(START_DEADLINE, pre.instantiate_async(&mut store)).await {
            Ok(Ok(guest)) => Ok(Instance { store, guest }),
            Ok(Err(error)) => Err(fault::from_error(store.data_mut(), &error, START_DEADLINE)),
            Err(TimedOut) => Err(fault::timed_out(START_DEADLINE)),
        }
    }

    /// Asks the guest for its manifest, which is not checked yet.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn describe(&mut self) -> Result<wit::Manifest, Fault> {
        let store = begin_call(&mut self.store, START_DEADLINE);
        let call = self.guest.leak_lab_plugin_leak().call_describe(store);
        let answer = with_timeout(START_DEADLINE, call).await;
        self.end_call(answer, START_DEADLINE)
    }

    /// Passes the values of some settings to the guest. The inner error is the guest's own refusal.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn configure<'a>(
        &mut self,
        values: impl Iterator<Item = (&'a SettingSpec, &'a Value)>,
        deadline: Duration,
    ) -> Result<Result<(), PluginError>, Fault> {
        let values: Vec<(&str, wit::Value)> = values
            .filter_map(|(spec, value)| Some((spec.name.as_str(), to_wit(value)?)))
            .collect();
        if values.is_empty() {
            return Ok(Ok(()));
        }
        let settings: Vec<wit::Setting<'_>> = values
            .iter()
            .map(|(name, value)| wit::Setting { name, value })
            .collect();
        let store = begin_call(&mut self.store, deadline);
        let guest = self.guest.leak_lab_plugin_leak();
        let call = guest.call_configure(store, &settings);
        let answer = with_timeout(deadline * MAX_CALL_DEADLINES, call).await;
        let refusal = self.end_call(answer, deadline)?;
        Ok(refusal.map_err(|e| PluginError::InvalidValue {
            name: guest_text::keep(&e.name),
            message: guest_text::keep(&e.message),
        }))
    }

    /// Passes one request to the guest. The inner error is the guest's own message.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn on_request(
        &mut self,
        request: &GuestRequest,
        deadline: Duration,
    ) -> Result<Result<RequestOutcome, String>, Fault> {
        let store = begin_call(&mut self.store, deadline);
        let headers = request.headers();
        let guest = self.guest.leak_lab_plugin_leak();
        let answer = {
            // Pinned where it is created: it is large, and a move would cost a part of the call.
            let call = pin!(guest.call_on_request(store, request.to_wit(&headers)));
            with_timeout(deadline * MAX_CALL_DEADLINES, call).await
        };
        let outcome = self.end_call(answer, deadline)?;
        let outcome = outcome.map_err(|message| guest_text::keep(&message));
        Ok(outcome.map(|outcome| RequestOutcome {
            triggered: outcome.triggered,
            retained: outcome.retained.into(),
        }))
    }

    /// Asks the guest what the pattern retains.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn retained(&mut self, deadline: Duration) -> Result<Retained, Fault> {
        let store = begin_call(&mut self.store, deadline);
        let call = self.guest.leak_lab_plugin_leak().call_retained(store);
        let answer = with_timeout(deadline * MAX_CALL_DEADLINES, call).await;
        self.end_call(answer, deadline).map(Retained::from)
    }

    /// Drops what the pattern retains. Returns what that was.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when the guest did not survive it.
    pub(crate) async fn clear(&mut self, deadline: Duration) -> Result<Retained, Fault> {
        let store = begin_call(&mut self.store, deadline);
        let call = self.guest.leak_lab_plugin_leak().call_clear(store);
        let answer = with_timeout(deadline * MAX_CALL_DEADLINES, call).await;
        self.end_call(answer, deadline).map(Retained::from)
    }

    /// Bytes of all memories and tables, with those of the profiler.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.store.data().limiter.total_bytes()
    }

    /// How much memory one instruction can work on.
    pub(crate) fn size(&self) -> Size {
        self.store.data().limiter.size()
    }

    /// The linear memory. Readable after a fault too.
    pub(crate) fn linear_memory(&self) -> LinearMemory {
        let limiter = &self.store.data().limiter;
        LinearMemory {
            bytes: limiter.linear_bytes(),
            limit: limiter.limit(),
            grows: limiter.grows(),
            denials: limiter.denials(),
        }
    }

    /// Totals of the heap, cheap enough to read after each call; `None` without attribution.
    /// Readable after a fault too.
    pub(crate) fn heap_summary(&self) -> Option<HeapSummary> {
        let state = self.attributed()?;
        let summary = state.recorder.live_summary(&self.store);
        Some(HeapSummary {
            live_bytes: summary.live_bytes,
            coverage: summary.coverage,
            profiler_bytes: state.limiter.profiler_bytes(),
        })
    }

    /// Sums over all call stacks; `None` without attribution. Readable after a fault too.
    pub(crate) fn heap_totals(&self) -> Option<Totals> {
        let state = self.attributed()?;
        Some(state.recorder.totals(&self.store))
    }

    fn attributed(&self) -> Option<&StoreState> {
        let state = self.store.data();
        state.recorder.meta().counts_blocks().then_some(state)
    }

    /// The heap tables, with the contexts that `cursor` does not include yet. Readable after a
    /// fault too.
    pub(crate) fn heap_tables(&self, cursor: &mut ContextCursor) -> HeapTables {
        let recorder = &self.store.data().recorder;
        HeapTables {
            reading: recorder.read(&self.store),
            contexts: recorder.new_contexts(&self.store, cursor),
            recorder_bytes: recorder.memory_bytes(),
        }
    }

    /// Changes the limit of linear memory, in bytes. The instance keeps what it already has.
    pub(crate) fn set_memory_limit(&mut self, limit: u64) {
        self.store.data_mut().limiter.set_limit(limit);
    }

    fn end_call<T>(
        &mut self,
        answer: Result<wasmtime::Result<T>, TimedOut>,
        deadline: Duration,
    ) -> Result<T, Fault> {
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(fault::from_error(self.store.data_mut(), &error, deadline)),
            Err(TimedOut) => Err(fault::timed_out(deadline)),
        }
    }
}

/// Prepares a store for one call.
fn begin_call(store: &mut Store<StoreState>, deadline: Duration) -> &mut Store<StoreState> {
    let state = store.data_mut();
    state.ticks = TickBudget::new(deadline);
    state.limiter.take_denied();
    store.set_epoch_deadline(1);
    store
}
