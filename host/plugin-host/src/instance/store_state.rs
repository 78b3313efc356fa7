//! The host's state in a store: what a guest's calls into the host work on.

use guest_heap::Recorder;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::leak_lab::plugin::logging;
use crate::instance::deadline::TickBudget;
use crate::instance::guest_log::{GuestLog, Level};
use crate::instance::limiter::Limiter;

/// The data of one store.
pub(crate) struct StoreState {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) log: GuestLog,
    pub(crate) recorder: Recorder,
    pub(crate) ticks: TickBudget,
}

impl StoreState {
    /// The host's side of the heap profiler.
    pub(crate) fn recorder(&mut self) -> &mut Recorder {
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
