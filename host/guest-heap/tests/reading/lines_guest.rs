//! Builds the guest in `fixtures/lines` and captures the stack of each of its allocations.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use guest_heap::reading::{Context, ContextRecord, Reading, Totals};
use guest_heap::symbols::{SymbolOptions, Symbols};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store, WasmBacktrace, WasmBacktraceDetails};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// One allocation of a guest: its size, and the stack as offsets in the component, innermost first.
#[derive(Debug, Clone)]
pub(crate) struct Allocation {
    pub(crate) bytes: u64,
    pub(crate) stack: Arc<[u32]>,
}

/// The allocations of each case of a guest.
pub(crate) struct Recorded {
    pub(crate) component: Vec<u8>,
    pub(crate) cases: Vec<(String, Vec<Allocation>)>,
}

impl Recorded {
    pub(crate) fn case(&self, name: &str) -> &[Allocation] {
        &self
            .cases
            .iter()
            .find(|case| case.0 == name)
            .unwrap_or_else(|| panic!("no case {name}"))
            .1
    }

    pub(crate) fn all(&self) -> Vec<Allocation> {
        self.cases.iter().flat_map(|case| case.1.clone()).collect()
    }
}

/// The recorded allocations of the Rust guest, which runs once for all tests.
pub(crate) fn recorded() -> &'static Recorded {
    static RECORDED: OnceLock<Recorded> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lines");
        record(&std::fs::read(build(&sources(), &target, &[], "")).unwrap())
    })
}

/// New symbols of the Rust guest with an empty cache.
pub(crate) fn symbols() -> Arc<Symbols> {
    Arc::new(Symbols::new(&recorded().component, options()).unwrap())
}

/// Options that mark the probe as infrastructure, because it is part of the allocator.
pub(crate) fn options() -> SymbolOptions {
    SymbolOptions::default().infrastructure_path("probe")
}

/// The folder of the Rust guest's sources.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lines")
}

/// The reading that the profiler would return if nothing was freed, with one context per distinct
/// stack.
pub(crate) fn reading_of(allocations: &[Allocation]) -> (Reading, Vec<Context>) {
    let mut stacks: Vec<Arc<[u32]>> = Vec::new();
    let mut reading = Reading::default();
    for allocation in allocations {
        let index = stacks
            .iter()
            .position(|stack| *stack == allocation.stack)
            .unwrap_or_else(|| {
                stacks.push(Arc::clone(&allocation.stack));
                reading.contexts.push(ContextRecord {
                    index: stacks.len() as u32 - 1,
                    ..ContextRecord::default()
                });
                stacks.len() - 1
            });
        reading.contexts[index].allocated_bytes += allocation.bytes;
        reading.contexts[index].allocated_objects += 1;
    }
    let bytes = reading
        .contexts
        .iter()
        .map(|record| record.allocated_bytes)
        .sum();
    let objects = reading
        .contexts
        .iter()
        .map(|record| record.allocated_objects)
        .sum();
    reading.totals = Totals {
        live_bytes: bytes,
        live_objects: objects,
        allocated_bytes: bytes,
        allocated_objects: objects,
        contexts: stacks.len() as u64,
        ..Totals::default()
    };
    (reading, stacks.into_iter().map(Context::Stack).collect())
}

/// Builds the Rust guest from a copy of its sources, with more arguments for cargo and rustc.
pub(crate) fn build(
    sources: &Path,
    target: &Path,
    arguments: &[&str],
    rust_flags: &str,
) -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
            "--target-dir",
        ])
        .arg(target)
        .args(arguments)
        .current_dir(sources)
        // These settings are meant for the host.
        .env("RUSTFLAGS", rust_flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .unwrap();
    assert!(status.success(), "the guest does not build");
    target.join("wasm32-wasip2/release/lines.wasm")
}

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    allocations: Vec<Allocation>,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Runs all cases of a guest.
pub(crate) fn record(bytes: &[u8]) -> Recorded {
    let mut config = Config::new();
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, bytes).unwrap();
    let mut linker: Linker<Data> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    linker
        .root()
        .func_wrap(
            "allocated",
            |mut store: wasmtime::StoreContextMut<'_, Data>, (bytes,): (u32,)| {
                let stack = WasmBacktrace::force_capture(&store)
                    .frames()
                    .iter()
                    .filter_map(|frame| frame.module_offset())
                    .map(|offset| u32::try_from(offset).unwrap())
                    .collect();
                store.data_mut().allocations.push(Allocation {
                    bytes: u64::from(bytes),
                    stack,
                });
                Ok(())
            },
        )
        .unwrap();
    let data = Data {
        wasi: WasiCtxBuilder::new().build(),
        table: ResourceTable::new(),
        allocations: Vec::new(),
    };
    let mut store = Store::new(&engine, data);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let cases = instance
        .get_typed_func::<(), (Vec<String>,)>(&mut store, "cases")
        .unwrap();
    let run = instance
        .get_typed_func::<(u32,), ()>(&mut store, "run")
        .unwrap();
    let (names,) = cases.call(&mut store, ()).unwrap();
    let cases = names
        .into_iter()
        .zip(0..)
        .map(|(name, index)| {
            run.call(&mut store, (index,)).unwrap();
            (name, std::mem::take(&mut store.data_mut().allocations))
        })
        .collect();
    Recorded {
        component: bytes.to_vec(),
        cases,
    }
}
