//! Calls an export of a component ten times a second, and serves the inspector of its heap.
//!
//! `cargo run --release -p guest-heap-inspector --example mount -- COMPONENT [INTERFACE#]FUNCTION`
//!
//! The function takes no parameters. The page is at <http://127.0.0.1:6070/debug/heap/>; `ADDR` in
//! the environment chooses another address, and `SOURCES` the folder of the component's sources.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Recorder, instrument};
use guest_heap_inspector::{HeapError, HeapReading, HeapSource, Options, router};
use tokio::sync::Mutex;
use wasmtime::component::{Component, Func, Linker, ResourceTable, Val};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The data of the store.
struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    recorder: Recorder,
    calls: u64,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The only guest. The lock is held during a call, so the inspector reads between calls.
#[derive(Clone)]
struct Guest {
    store: Arc<Mutex<Store<Data>>>,
    symbols: Arc<Symbols>,
}

impl HeapSource for Guest {
    fn guests(&self) -> Vec<String> {
        vec!["guest".to_owned()]
    }

    async fn read(&self, _guest: &str) -> Result<HeapReading, HeapError> {
        let store = self.store.lock().await;
        let data = store.data();
        let reading = HeapReading::new(&data.recorder, &*store, &self.symbols);
        Ok(reading.with_calls(data.calls))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: mount COMPONENT [INTERFACE#]FUNCTION".into());
    };
    let (guest, function) = load(&std::fs::read(path)?, &name).await?;
    let options = Options {
        source_roots: std::env::var_os("SOURCES")
            .map(PathBuf::from)
            .into_iter()
            .collect(),
        ..Options::default()
    };
    let app = Router::new().merge(router(guest.clone(), options));
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:6070".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/debug/heap/", listener.local_addr()?);
    tokio::select! {
        served = async { axum::serve(listener, app).await } => Ok(served?),
        called = call_forever(&guest, function) => called,
    }
}

/// Instruments, compiles and instantiates the component, and finds its function.
async fn load(original: &[u8], name: &str) -> Result<(Guest, Func), Box<dyn Error>> {
    let instrumented = instrument(original, &guest_heap::Options::default())?;
    let mut config = Config::new();
    guest_heap::configure(&mut config);
    let engine = Engine::new(&config)?;
    let component = Component::new(&engine, &instrumented.component)?;
    let mut linker: Linker<Data> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder)?;
    let data = Data {
        wasi: WasiCtx::builder().inherit_stdio().build(),
        table: ResourceTable::new(),
        recorder: Recorder::new(instrumented.meta),
        calls: 0,
    };
    let mut store = Store::new(&engine, data);
    let instance = linker.instantiate_async(&mut store, &component).await?;
    let (interface, function) = name
        .rsplit_once('#')
        .map_or((None, name), |(i, f)| (Some(i), f));
    let interface = interface.map(|name| instance.get_export_index(&mut store, None, name));
    let export = match interface {
        Some(None) => None,
        Some(interface) => instance.get_export_index(&mut store, interface.as_ref(), function),
        None => instance.get_export_index(&mut store, None, function),
    };
    let function = export.and_then(|export| instance.get_func(&mut store, export));
    let guest = Guest {
        symbols: Arc::new(Symbols::new(original, SymbolOptions::default())?),
        store: Arc::new(Mutex::new(store)),
    };
    Ok((
        guest,
        function.ok_or("the component does not export this function")?,
    ))
}

async fn call_forever(guest: &Guest, function: Func) -> Result<(), Box<dyn Error>> {
    loop {
        let mut store = guest.store.lock().await;
        let mut results = vec![Val::Bool(false); function.ty(&*store).results().len()];
        function.call_async(&mut *store, &[], &mut results).await?;
        store.data_mut().calls += 1;
        drop(store);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
