//! An instance of a Python component, with or without the profiler.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{
    Attribution, Checked, InstrumentedMeta, Options, Reading, Recorder, Totals, instrument,
};
use wasmtime::component::{
    Component, ComponentNamedList, Instance, Lift, Linker, Lower, ResourceTable,
};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// A component that is ready to run.
pub(crate) struct Prepared {
    engine: Engine,
    component: Component,
    pub(crate) meta: Arc<InstrumentedMeta>,
    symbols: Arc<Symbols>,
    /// Processor time of instrumenting.
    pub(crate) instrumenting: Duration,
}

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    recorder: Recorder,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The memory of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) function: String,
    pub(crate) bytes: u64,
    pub(crate) blocks: u64,
}

impl Prepared {
    /// Instruments a component with these options, or leaves it as it is, and compiles it. Machine
    /// code is kept in `folder`.
    ///
    /// # Errors
    /// When the component is invalid or cannot be compiled.
    pub(crate) fn new(original: &[u8], options: Option<&Options>, folder: &Path) -> Result<Self> {
        let started = processor_time()?;
        let (bytes, meta) = match options {
            None => (
                original.to_vec(),
                Arc::new(InstrumentedMeta::off("for comparison")),
            ),
            Some(options) => {
                let instrumented = instrument(original, options)?;
                (instrumented.component, instrumented.meta)
            }
        };
        let instrumenting = processor_time()? - started;
        let mut config = Config::new();
        guest_heap::configure(&mut config);
        let engine = Engine::new(&config).map_err(engine_error)?;
        let mut hasher = DefaultHasher::new();
        (&bytes, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cached = folder.join(format!("{:016x}.cwasm", hasher.finish()));
        if !cached.is_file() {
            let compiled = engine.precompile_component(&bytes).map_err(engine_error)?;
            fs::write(&cached, compiled).context("cannot keep machine code")?;
        }
        #[allow(unsafe_code, reason = "the file is this command's own")]
        // SAFETY: this command has written the file, and its name contains the engine's version.
        let component = unsafe { Component::deserialize_file(&engine, &cached) };
        Ok(Self {
            component: component.map_err(engine_error)?,
            engine,
            meta,
            symbols: Arc::new(Symbols::new(original, SymbolOptions::default())?),
            instrumenting,
        })
    }

    /// A new instance.
    ///
    /// # Errors
    /// When the component does not start.
    pub(crate) fn start(&self) -> Result<Session> {
        let mut linker: Linker<Data> = Linker::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(engine_error)?;
        guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder).map_err(engine_error)?;
        let data = Data {
            wasi: WasiCtx::builder().inherit_stdio().build(),
            table: ResourceTable::new(),
            recorder: Recorder::new(Arc::clone(&self.meta)),
        };
        let mut store = Store::new(&self.engine, data);
        let instance = linker
            .instantiate(&mut store, &self.component)
            .map_err(engine_error)?;
        Ok(Session {
            store,
            instance,
            symbols: Arc::clone(&self.symbols),
        })
    }
}

/// A running component.
pub(crate) struct Session {
    store: Store<Data>,
    instance: Instance,
    symbols: Arc<Symbols>,
}

impl Session {
    /// Calls an export.
    ///
    /// # Errors
    /// When there is no such export, or the guest traps.
    pub(crate) fn call<P, R>(&mut self, export: &str, arguments: P) -> Result<R>
    where
        P: ComponentNamedList + Lower,
        R: Lift + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let function = self
            .instance
            .get_typed_func::<P, (R,)>(&mut self.store, export)
            .map_err(engine_error)?;
        let (result,) = function
            .call(&mut self.store, arguments)
            .map_err(engine_error)?;
        Ok(result)
    }

    fn reading(&self) -> Reading {
        self.store.data().recorder.read(&self.store)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.reading().totals
    }

    pub(crate) fn attribution(&self) -> Attribution {
        self.reading()
            .attribution(self.store.data().recorder.meta())
    }

    pub(crate) fn checked(&self) -> Checked {
        self.store.data().recorder.checked(&self.store)
    }

    fn snapshot(&self) -> Snapshot {
        let recorder = &self.store.data().recorder;
        let context = |index| Some(recorder.context(&self.store, index));
        Snapshot::new(&self.reading(), context, Arc::clone(&self.symbols))
    }

    /// Live memory by line.
    pub(crate) fn lines(&self) -> HashMap<String, Line> {
        let groups = self.snapshot().top(GroupBy::Line, usize::MAX);
        let line = |group: guest_heap::snapshot::Group| {
            (
                group.location.to_string(),
                Line {
                    function: group.site.function.to_string(),
                    bytes: group.usage.live_bytes,
                    blocks: group.usage.live_objects,
                },
            )
        };
        groups.into_iter().map(line).collect()
    }
}

/// The processor time of this thread.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn processor_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().context("no processor time")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// The engine has an error type of its own.
fn engine_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}
