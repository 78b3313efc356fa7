//! Runs a component and prints the source lines that hold memory at the end.
//!
//! `cargo run --release -p guest-heap --example profile -- COMPONENT [FUNCTION]`
//!
//! FUNCTION is the name of an export without parameters. Without it, the example runs the
//! `wasi:cli/run` of a command. It writes `heap.pb.gz` (pprof) and `flame.svg` to the current
//! folder, also when the guest traps.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use guest_heap::pprof::ProfileBuilder;
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Options, Recorder, flamegraph, instrument};
use wasmtime::component::{Component, Linker, ResourceTable, Val};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

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

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: profile COMPONENT [FUNCTION]")?;
    let original = std::fs::read(path)?;
    let instrumented = instrument(&original, &Options::default())?;
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    let engine = Engine::new(&config)?;
    let component = Component::new(&engine, &instrumented.component)?;
    let mut linker: Linker<Data> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder)?;
    let data = Data {
        wasi: WasiCtx::builder().inherit_stdio().build(),
        table: ResourceTable::new(),
        recorder: Recorder::new(instrumented.meta),
    };
    let mut store = Store::new(&engine, data);
    let instance = linker.instantiate(&mut store, &component)?;

    // A command exports `run` in an interface whose name ends in a version.
    let exports = component.component_type();
    let command = exports
        .exports(&engine)
        .map(|(name, _)| name)
        .find(|name| name.starts_with("wasi:cli/run@"));
    let export = match (arguments.next(), command) {
        (Some(name), _) => instance.get_export_index(&mut store, None, &name),
        (None, Some(command)) => {
            let interface = instance.get_export_index(&mut store, None, command);
            instance.get_export_index(&mut store, interface.as_ref(), "run")
        }
        (None, None) => None,
    };
    let function = export.and_then(|export| instance.get_func(&mut store, export));
    let function = function
        .ok_or("no such function: a component without wasi:cli/run needs the argument FUNCTION")?;
    let mut results = vec![Val::Bool(false); function.ty(&store).results().len()];
    if let Err(error) = function.call(&mut store, &[], &mut results) {
        println!("the guest has failed: {error:#}");
    }

    let recorder = &store.data().recorder;
    let reading = recorder.read(&store);
    let symbols = Arc::new(Symbols::new(&original, SymbolOptions::default())?);
    let context = |index| Some(recorder.context(&store, index));
    let snapshot = Snapshot::new(&reading, context, symbols);
    let totals = snapshot.totals();
    println!("attribution: {:?}", reading.attribution(recorder.meta()));
    println!("live: {}", reading.live_range(recorder.meta()));
    println!(
        "{} bytes live in {} blocks; {} bytes ever allocated in {} blocks",
        totals.live_bytes, totals.live_objects, totals.allocated_bytes, totals.allocated_objects
    );
    for line in snapshot.top(GroupBy::Line, 10) {
        let (usage, function) = (line.usage, &line.site.function);
        println!(
            "{:>10} bytes {:>7} blocks  {} in {function}",
            usage.live_bytes, usage.live_objects, line.location
        );
    }
    println!("growth of linear memory, in pages of 64 KiB:");
    for line in snapshot.top_growth(GroupBy::Line, 10) {
        println!(
            "{:>10} bytes                 {} in {}",
            line.bytes, line.location, line.site.function
        );
    }
    let mut profile = ProfileBuilder::new(SystemTime::now());
    profile.add("guest", &snapshot);
    std::fs::write("heap.pb.gz", profile.encode())?;
    let graph = flamegraph::live_bytes("Live bytes", &[("guest", &snapshot)])?;
    std::fs::write("flame.svg", graph)?;
    Ok(())
}
