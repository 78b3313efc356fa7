//! Calls an export of a component ten times a second, and serves the inspector of its heap at
//! <http://127.0.0.1:6070/debug/heap/>. The function takes no parameters:
//!
//! `cargo run --release -p guest-heap-inspector --example mount -- COMPONENT [INTERFACE#]FUNCTION`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

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
        let (ctx, table) = (&mut self.wasi, &mut self.table);
        WasiCtxView { ctx, table }
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
        let reading = HeapReading::new(&store.data().recorder, &*store, &self.symbols);
        Ok(reading.with_calls(store.data().calls))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (Some(path), Some(name)) = (std::env::args().nth(1), std::env::args().nth(2)) else {
        return Err("usage: mount COMPONENT [INTERFACE#]FUNCTION".into());
    };
    let (guest, function) = load(&std::fs::read(path)?, &name).await?;
    let app = axum::Router::new().merge(router(guest.clone(), Options::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:6070").await?;
    println!("http://{}/debug/heap/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });
    loop {
        let mut store = guest.store.lock().await;
        let mut results = vec![Val::Bool(false); function.ty(&*store).results().len()];
        function.call_async(&mut *store, &[], &mut results).await?;
        store.data_mut().calls += 1;
        drop(store);
        tokio::time::sleep(Duration::from_millis(100)).await;
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
    let mut export = None;
    for name in name.split('#') {
        let inside = instance.get_export_index(&mut store, export.as_ref(), name);
        export = Some(inside.ok_or_else(|| format!("there is no export {name}"))?);
    }
    let function = export.and_then(|it| instance.get_func(&mut store, it));
    let function = function.ok_or("the export is no function")?;
    let symbols = Symbols::new(original, SymbolOptions::default())?;
    let (store, symbols) = (Arc::new(Mutex::new(store)), Arc::new(symbols));
    Ok((Guest { store, symbols }, function))
}
