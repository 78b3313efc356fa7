//! Runs a component under the profiler and compares the profile with the program's own ledger.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use guest_heap::{Attribution, Instrumented, Options, Reading, Recorder, instrument};
use wasmtime::component::{Component, Instance, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// By how much a profile that is not exact may be wrong, in bytes.
const TOLERANCE: u64 = 65_536;

/// Bytes of output that are kept of a program.
const MAX_OUTPUT: usize = 65_536;

/// A program's and the profiler's live bytes, without what was live before the operations.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// By the program's ledger.
    pub(crate) ledger: u64,
    /// By the profiler.
    pub(crate) counted: i128,
    /// Bytes of growth and of initial memory that the profiler says it cannot tell.
    pub(crate) unseen: u64,
    pub(crate) attribution: Attribution,
    pub(crate) entry_points: Vec<String>,
}

/// What a comparison shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exact, and equal to the byte.
    Exact,
    /// Not exact, and the true number is within what the profile says.
    Honest,
    /// Not exact, and the true number is outside of what the profile says.
    Rough,
    /// Says exact and is wrong.
    FalseExact,
}

impl Comparison {
    pub(crate) fn verdict(&self) -> Verdict {
        let ledger = i128::from(self.ledger);
        match self.attribution {
            Attribution::Exact if ledger == self.counted => Verdict::Exact,
            Attribution::Exact => Verdict::FalseExact,
            // It says nothing.
            Attribution::Off { .. } => Verdict::Honest,
            Attribution::Partial { .. } => {
                let tolerance = i128::from(TOLERANCE);
                let least = ledger - i128::from(self.unseen) - tolerance;
                if (least..=ledger + tolerance).contains(&self.counted) {
                    Verdict::Honest
                } else {
                    Verdict::Rough
                }
            }
        }
    }
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
        counted: i128::from(after.counted) - i128::from(before.counted),
        unseen: after.unseen,
        attribution: after.attribution,
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
    counted: u64,
    unseen: u64,
    attribution: Attribution,
}

struct Program {
    store: Store<Data>,
    instance: Instance,
    output: MemoryOutputPipe,
    meta: Arc<guest_heap::InstrumentedMeta>,
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
        };
        let mut store = Store::new(engine, data);
        let instance = linker
            .instantiate(&mut store, component)
            .map_err(engine_error)?;
        Ok(Self {
            store,
            instance,
            output,
            meta: instrumented.meta.clone(),
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
        Ok(Measured {
            ledger,
            counted: reading.totals.live_bytes,
            unseen: unseen(&reading),
            attribution: reading.attribution(&self.meta),
        })
    }
}

/// Bytes of memory that the profile says it cannot tell.
fn unseen(reading: &Reading) -> u64 {
    let coverage = &reading.coverage;
    coverage.heap_unseen_bytes + coverage.initial_heap_bytes + coverage.other_bytes()
}
