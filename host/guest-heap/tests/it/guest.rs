//! An instance of a guest, original or instrumented.

use std::sync::Arc;

use guest_heap::{InstrumentedMeta, Options, Reading, Recorder, Totals};
use wasmtime::component::{
    Component, ComponentNamedList, ComponentType, Instance, Lift, Linker, Lower, ResourceTable,
};
use wasmtime::{Config, Engine, ResourceLimiter, Result, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The enum of `workload.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Benchmark {
    #[component(name = "pair")]
    Pair,
    #[component(name = "json")]
    Json,
    #[component(name = "hash")]
    Hash,
    #[component(name = "mix")]
    Mix,
    #[component(name = "dispatch")]
    Dispatch,
    #[component(name = "fibonacci")]
    Fibonacci,
}

pub(crate) struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) recorder: Recorder,
    pub(crate) limiter: Option<Box<dyn ResourceLimiter + Send + Sync>>,
    limits: StoreLimits,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

pub(crate) struct Guest {
    pub(crate) store: Store<Data>,
    pub(crate) instance: Instance,
}

pub(crate) fn config() -> Config {
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    config.concurrency_support(false);
    config.max_wasm_stack(512 << 10);
    config
}

pub(crate) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker: Linker<Data> = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder)?;
    linker.root().func_wrap("fetch", |_, (length,): (u32,)| {
        Ok(("f".repeat(length as usize),))
    })?;
    linker
        .root()
        .func_wrap("fetch-list", |_, (count, length): (u32, u32)| {
            Ok((vec!["f".repeat(length as usize); count as usize],))
        })?;
    Ok(linker)
}

pub(crate) fn store(engine: &Engine, meta: Arc<InstrumentedMeta>) -> Store<Data> {
    let data = Data {
        wasi: WasiCtx::builder().build(),
        table: ResourceTable::new(),
        recorder: Recorder::new(meta),
        limiter: None,
        limits: StoreLimitsBuilder::new().build(),
    };
    let mut store = Store::new(engine, data);
    store.limiter(|data| match &mut data.limiter {
        Some(limiter) => &mut **limiter,
        None => &mut data.limits,
    });
    store
}

impl Guest {
    pub(crate) fn new(bytes: &[u8], meta: Arc<InstrumentedMeta>) -> Result<Self> {
        let engine = Engine::new(&config())?;
        let component = Component::new(&engine, bytes)?;
        Self::instantiate(&engine, &component, meta)
    }

    pub(crate) fn instantiate(
        engine: &Engine,
        component: &Component,
        meta: Arc<InstrumentedMeta>,
    ) -> Result<Self> {
        let mut store = store(engine, meta);
        let instance = linker(engine)?.instantiate(&mut store, component)?;
        Ok(Self { store, instance })
    }

    /// An instance of the component without instrumentation.
    pub(crate) fn original(bytes: &[u8]) -> Self {
        Self::new(bytes, Arc::new(InstrumentedMeta::off("for comparison"))).unwrap()
    }

    pub(crate) fn instrumented(bytes: &[u8]) -> Self {
        Self::with_options(bytes, &Options::default())
    }

    pub(crate) fn with_options(bytes: &[u8], options: &Options) -> Self {
        let instrumented = guest_heap::instrument(bytes, options).unwrap();
        Self::new(&instrumented.component, instrumented.meta).unwrap()
    }

    pub(crate) fn call<P, R>(&mut self, export: &str, arguments: P) -> Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let function = self
            .instance
            .get_typed_func::<P, R>(&mut self.store, export)?;
        function.call(&mut self.store, arguments)
    }

    pub(crate) fn totals(&self) -> Totals {
        let recorder = &self.store.data().recorder;
        let totals = recorder.totals(&self.store);
        let summary = recorder.live_summary(&self.store);
        assert_eq!(
            (summary.live_bytes, summary.overflowed),
            (totals.live_bytes, totals.overflowed),
            "the sum in the header equals the sum of the records"
        );
        totals
    }

    pub(crate) fn reading(&self) -> Reading {
        self.store.data().recorder.read(&self.store)
    }

    /// Live bytes and live blocks.
    pub(crate) fn live(&self) -> (u64, u64) {
        let totals = self.totals();
        (totals.live_bytes, totals.live_objects)
    }
}
