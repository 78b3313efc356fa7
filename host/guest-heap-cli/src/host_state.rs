//! The data of a guest's store: what the guest may use of the machine, and the profiler's recorder.

use anyhow::{Context as _, Result};
use guest_heap::Recorder;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{Deterministic, FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::arguments::{ComponentArguments, WasiOption};
use crate::engine::engine_error;
use crate::load::LoadedComponent;
use crate::memory_limit::MemoryLimit;
use crate::outgoing::OutgoingRequests;

/// The data of the store.
pub(crate) struct HostState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: OutgoingRequests,
    table: ResourceTable,
    pub(crate) recorder: Recorder,
    pub(crate) memory: MemoryLimit,
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outgoing,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl HostState {
    /// The state of a store for an instance of a component.
    ///
    /// # Errors
    /// When a folder cannot be opened, or an environment variable to inherit is not set.
    pub(crate) fn new(
        loaded: &LoadedComponent,
        arguments: &ComponentArguments,
        guest_arguments: &[String],
        world: World,
        max_memory: u64,
    ) -> Result<Self> {
        let has_network = arguments.wasi.contains(&WasiOption::InheritNetwork);
        Ok(Self {
            wasi: wasi(arguments, guest_arguments, world)?,
            http: WasiHttpCtx::new(),
            outgoing: OutgoingRequests::new(has_network),
            table: ResourceTable::new(),
            recorder: Recorder::new(loaded.meta.clone()),
            memory: MemoryLimit::new(max_memory, loaded.meta.clone()),
        })
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
