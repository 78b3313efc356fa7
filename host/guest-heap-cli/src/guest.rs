//! The running component: its store, its instance and its heap.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::Symbols;
use guest_heap::{Attribution, Recorder};
use wasmtime::component::{Instance, Linker, ResourceTable};
use wasmtime::{AsContext, Engine, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{Deterministic, FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::arguments::{ComponentArguments, WasiOption};
use crate::engine::engine_error;
use crate::load::LoadedComponent;

/// Time between two interruptions of the guest, at which Ctrl-C and `--every` have their turn.
const TICK: Duration = Duration::from_millis(20);

/// The data of the store.
pub(crate) struct HostState {
    wasi: WasiCtx,
    table: ResourceTable,
    recorder: Recorder,
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Where the guest's output goes, and whether its world is the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// Standard input, output and error are the program's. Random numbers are random.
    Inherited,
    /// The same random numbers each time. `output`: standard output and error are the program's.
    Repeatable { output: bool },
}

/// An instance with its store.
pub(crate) struct Guest {
    pub(crate) store: Store<HostState>,
    pub(crate) instance: Instance,
    pub(crate) loaded: LoadedComponent,
}

/// What a guest's heap holds at one time.
pub(crate) struct Heap {
    pub(crate) snapshot: Snapshot,
    pub(crate) attribution: Attribution,
    /// Growths of memory that no allocator entry point made, largest first: bytes, and the names of
    /// the call stack's functions, innermost first.
    pub(crate) unseen: Vec<(u64, Vec<String>)>,
}

impl Guest {
    /// Instantiates a component. `on_tick` runs now and then while the guest runs.
    ///
    /// # Errors
    /// When the component imports something other than WASI, traps, or a folder cannot be opened.
    pub(crate) async fn start(
        engine: &Engine,
        loaded: LoadedComponent,
        arguments: &ComponentArguments,
        guest_arguments: &[String],
        world: World,
        mut on_tick: impl FnMut(&StoreContextMut<'_, HostState>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut linker: Linker<HostState> = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(engine_error)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker).map_err(engine_error)?;
        guest_heap::add_to_linker(&mut linker, |state| &mut state.recorder)
            .map_err(engine_error)?;
        let state = HostState {
            wasi: wasi(arguments, guest_arguments, world)?,
            table: ResourceTable::new(),
            recorder: Recorder::new(loaded.meta.clone()),
        };
        let mut store = Store::new(engine, state);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context| {
            on_tick(&context);
            Ok(UpdateDeadline::Yield(1))
        });
        tokio::spawn(tick(engine.clone()));
        let instance = linker
            .instantiate_async(&mut store, &loaded.component)
            .await
            .map_err(engine_error)
            .context("the component cannot be started")?;
        Ok(Self {
            store,
            instance,
            loaded,
        })
    }

    /// Reads the heap. It also works after a trap.
    pub(crate) fn heap(&self) -> Heap {
        read_heap(&self.store, &self.loaded.symbols)
    }
}

/// Reads the heap of the guest in a store.
pub(crate) fn read_heap(store: &impl AsContext<Data = HostState>, symbols: &Arc<Symbols>) -> Heap {
    let context = store.as_context();
    let recorder = &context.data().recorder;
    let reading = recorder.read(&context);
    let stack = |index| recorder.context(&context, index);
    let snapshot = Snapshot::new(&reading, |index| Some(stack(index)), symbols.clone());
    let mut unseen: Vec<_> = reading
        .contexts
        .iter()
        .filter(|record| record.unseen_growths > 0)
        .map(|record| {
            let frames = snapshot.frames(&stack(record.index));
            let names = frames.iter().map(|frame| frame.function.to_string());
            (record.unseen_bytes, names.collect())
        })
        .collect();
    unseen.sort_by(|(a, _): &(u64, _), (b, _)| b.cmp(a));
    Heap {
        attribution: reading.attribution(recorder.meta()),
        snapshot,
        unseen,
    }
}

async fn tick(engine: Engine) {
    let engine = engine.weak();
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}

fn wasi(
    arguments: &ComponentArguments,
    guest_arguments: &[String],
    world: World,
) -> Result<WasiCtx> {
    let mut wasi = WasiCtxBuilder::new();
    match world {
        World::Inherited => {
            wasi.inherit_stdio();
        }
        World::Repeatable { output } => {
            if output {
                wasi.inherit_stdout().inherit_stderr();
            }
            let random = || Deterministic::new((1..=64).collect());
            wasi.secure_random(random())
                .insecure_random(random())
                .insecure_random_seed(1);
        }
    }
    let program = arguments.file.file_name().unwrap_or_default();
    wasi.arg(program.to_string_lossy()).args(guest_arguments);
    for option in &arguments.wasi {
        match option {
            WasiOption::InheritEnv => wasi.inherit_env(),
            WasiOption::InheritNetwork => wasi.inherit_network(),
            WasiOption::AllowIpNameLookup => wasi.allow_ip_name_lookup(true),
        };
    }
    for variable in &arguments.environment {
        match variable.split_once('=') {
            Some((name, value)) => {
                wasi.env(name, value);
            }
            None => {
                let value = std::env::var(variable)
                    .with_context(|| format!("--env {variable}: it is not set here"))?;
                wasi.env(variable, value);
            }
        }
    }
    for folder in &arguments.folders {
        let (host, guest) = folder.split_once("::").unwrap_or((folder, folder));
        wasi.preopened_dir(host, guest, FsPerms::ReadWrite)
            .map_err(engine_error)
            .with_context(|| format!("--dir {folder}: the folder cannot be opened"))?;
    }
    Ok(wasi.build())
}
