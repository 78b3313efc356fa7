//! Runs a component under the profiler and compares the profile with the program's own ledger.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use guest_heap::{
    Attribution, ContextRecord, Instrumented, InstrumentedMeta, LiveRange, Options, Reading,
    Recorder, instrument,
};
use wasmtime::component::{Component, Instance, Linker, ResourceTable};
use wasmtime::{Config, Engine, ResourceLimiter, Store};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

/// By how much counted blocks may differ from the ledger so that the row is "close", in bytes. Also
/// the growth that may have no call stack, such as that of an entry point that frees.
const CLOSE: u64 = 65_536;

/// Bytes of output that are kept of a program.
const MAX_OUTPUT: usize = 65_536;

/// A program's and the profiler's numbers.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Live bytes by the program's ledger, without what was live before the operations.
    pub(crate) ledger: u64,
    /// The same by the profiler.
    pub(crate) counted: i128,
    /// The range that the profiler gives for all live bytes.
    pub(crate) range: LiveRange,
    /// Live bytes before the operations that are in the range and not in the ledger.
    before: u64,
    /// Linear memory by the engine, in bytes.
    pub(crate) memory: u64,
    /// The same by the profiler.
    pub(crate) known_memory: u64,
    /// Growth for which the profiler has a call stack or the name of a context, in bytes.
    pub(crate) attributed_growth: u64,
    /// All growth in instrumented code, in bytes.
    pub(crate) growth: u64,
    pub(crate) attribution: Attribution,
    pub(crate) entry_points: Vec<String>,
}

/// What a comparison shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exact, and equal to the byte.
    Exact,
    /// Not exact. The blocks are right within 64 KiB, and so are range and memory.
    Close,
    /// Not exact. The range and the memory are right, and the blocks are not.
    Bounded,
    /// The profiler says that it knows nothing.
    Off,
    /// Says exact and is wrong.
    FalseExact,
    /// Says a range or a size of memory that is wrong.
    FalseRange,
}

impl Comparison {
    pub(crate) fn verdict(&self) -> Verdict {
        let ledger = i128::from(self.ledger);
        let is_exact = self.attribution == Attribution::Exact;
        if is_exact && (ledger != self.counted || !self.range.is_exact()) {
            Verdict::FalseExact
        } else if matches!(self.attribution, Attribution::Off { .. }) {
            Verdict::Off
        } else if self.fault().is_some() {
            Verdict::FalseRange
        } else if is_exact {
            Verdict::Exact
        } else if (self.counted - ledger).unsigned_abs() <= u128::from(CLOSE) {
            Verdict::Close
        } else {
            Verdict::Bounded
        }
    }

    /// What is wrong in the range of live bytes or in the growth of memory.
    pub(crate) fn fault(&self) -> Option<String> {
        // Blocks from before the operations can be freed since.
        let most_live = self.ledger.saturating_add(self.before);
        if self.range.at_least > most_live
            || self.range.at_most.is_some_and(|most| most < self.ledger)
        {
            Some(format!("it says that {} are live", self.range))
        } else if self.known_memory != self.memory {
            let Self {
                known_memory,
                memory,
                ..
            } = self;
            Some(format!(
                "it says {known_memory} bytes of memory, and there are {memory}"
            ))
        } else if self.growth.abs_diff(self.attributed_growth) > CLOSE {
            let Self {
                attributed_growth,
                growth,
                ..
            } = self;
            Some(format!(
                "{attributed_growth} of {growth} bytes of growth have a call stack"
            ))
        } else {
            None
        }
    }
}

/// Adds up the memories of the guest, as the engine grows them.
#[derive(Default)]
struct MemoryMeter {
    bytes: u64,
    meta: Option<Arc<InstrumentedMeta>>,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let is_guests = |meta: &InstrumentedMeta| !meta.is_profiler_memory(maximum);
        if self.meta.as_deref().is_none_or(is_guests) {
            self.bytes += (desired - current) as u64;
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    recorder: Recorder,
    meter: MemoryMeter,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Instruments and runs a component.
///
/// # Errors
/// When the component cannot be instrumented, or when the program fails.
pub(crate) fn compare(component: &[u8], operations: u32, options: &Options) -> Result<Comparison> {
    let instrumented = instrument(component, options)?;
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    let engine = Engine::new(&config).map_err(engine_error)?;
    let compiled = Component::new(&engine, &instrumented.component).map_err(engine_error)?;
    let exports = compiled.component_type();
    let command = exports
        .exports(&engine)
        .map(|(name, _)| name.to_owned())
        .find(|name| name.starts_with("wasi:cli/run@"));
    let [before, after] = match command {
        Some(command) => {
            // The same number of digits, so that the runs differ in nothing else.
            let run = |operations: u32| -> Result<Measured> {
                let mut program = Program::start(&engine, &compiled, &instrumented, operations)?;
                let ledger = program.run_command(&command)?;
                program.measured(ledger)
            };
            [run(0)?, run(operations)?]
        }
        None => {
            let mut program = Program::start(&engine, &compiled, &instrumented, operations)?;
            let ledger = program.call(0)?;
            let before = program.measured(ledger)?;
            let ledger = program.call(operations)?;
            [before, program.measured(ledger)?]
        }
    };
    let entry_points = instrumented.report.modules.iter();
    Ok(Comparison {
        ledger: after.ledger.saturating_sub(before.ledger),
        counted: i128::from(after.reading.totals.live_bytes)
            - i128::from(before.reading.totals.live_bytes),
        range: after.reading.live_range(&instrumented.meta),
        before: before
            .reading
            .totals
            .live_bytes
            .saturating_sub(before.ledger),
        memory: after.memory,
        known_memory: after.reading.coverage.memory_bytes,
        attributed_growth: after.attributed_growth,
        growth: after.reading.coverage.heap_seen_bytes + after.reading.coverage.heap_unseen_bytes,
        attribution: after.reading.attribution(&instrumented.meta),
        entry_points: entry_points
            .flat_map(|module| &module.entry_points)
            .map(ToString::to_string)
            .collect(),
    })
}

/// The engine has an error type of its own.
fn engine_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

struct Measured {
    ledger: u64,
    reading: Reading,
    memory: u64,
    attributed_growth: u64,
}

struct Program {
    store: Store<Data>,
    instance: Instance,
    output: MemoryOutputPipe,
}

impl Program {
    fn start(
        engine: &Engine,
        component: &Component,
        instrumented: &Instrumented,
        operations: u32,
    ) -> Result<Self> {
        let mut linker: Linker<Data> = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(engine_error)?;
        guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder).map_err(engine_error)?;
        let output = MemoryOutputPipe::new(MAX_OUTPUT);
        let data = Data {
            wasi: WasiCtx::builder()
                .args(&["program".to_owned(), format!("{operations:09}")])
                .stdout(output.clone())
                .stderr(output.clone())
                .build(),
            table: ResourceTable::new(),
            recorder: Recorder::new(instrumented.meta.clone()),
            meter: MemoryMeter {
                meta: Some(instrumented.meta.clone()),
                ..MemoryMeter::default()
            },
        };
        let mut store = Store::new(engine, data);
        store.limiter(|data| &mut data.meter);
        let instance = linker
            .instantiate(&mut store, component)
            .map_err(engine_error)?;
        Ok(Self {
            store,
            instance,
            output,
        })
    }

    /// Calls the export `run` of a library.
    fn call(&mut self, operations: u32) -> Result<u64> {
        let run = self
            .instance
            .get_typed_func::<(u32,), (u64,)>(&mut self.store, "run")
            .map_err(engine_error)?;
        let (ledger,) = run
            .call(&mut self.store, (operations,))
            .map_err(engine_error)?;
        Ok(ledger)
    }

    /// Runs a command and reads the ledger from its output: a line `live BYTES`.
    fn run_command(&mut self, interface: &str) -> Result<u64> {
        let store = &mut self.store;
        let interface = self.instance.get_export_index(&mut *store, None, interface);
        let run = self
            .instance
            .get_export_index(&mut *store, interface.as_ref(), "run")
            .context("the command has no run")?;
        let run = self
            .instance
            .get_typed_func::<(), (Result<(), ()>,)>(&mut *store, run)
            .map_err(engine_error)?;
        let outcome = run.call(&mut *store, ());
        let output = String::from_utf8_lossy(&self.output.contents()).into_owned();
        match outcome {
            Ok((Ok(()),)) => {}
            // Go ends each program by an exit.
            Err(error)
                if error
                    .downcast_ref::<I32Exit>()
                    .is_some_and(|exit| exit.0 == 0) => {}
            Ok((Err(()),)) => return Err(anyhow!("the program failed: {output}")),
            Err(error) => return Err(anyhow!("the program failed: {error:#}: {output}")),
        }
        let live = output.lines().find_map(|line| line.strip_prefix("live "));
        live.with_context(|| format!("the program printed no ledger: {output}"))?
            .trim()
            .parse()
            .context("the ledger is not a number")
    }

    fn measured(&self, ledger: u64) -> Result<Measured> {
        let reading: Reading = self.store.data().recorder.read(&self.store);
        let growths = reading.contexts.iter().map(ContextRecord::grown_bytes);
        Ok(Measured {
            ledger,
            attributed_growth: growths.sum(),
            memory: self.store.data().meter.bytes,
            reading,
        })
    }
}
