//! A real component: instrumented, called and inspected while it runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Recorder, instrument};
use guest_heap_inspector::{HeapError, HeapReading, HeapSource, Options};
use serde_json::json;
use tokio::sync::Mutex;
use wasmtime::component::{Component, Instance, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::test_guests::Mounted;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-heap-cli/fixtures");
const LEAKING: &str = "leaks:guest/leaking@1.0.0";

/// Builds the fixtures of the command line program, in the same place as its own tests.
fn leaks() -> Vec<u8> {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = own.parent().unwrap_or(own).join("guest-heap-fixtures");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
        ])
        .arg("--target-dir")
        .arg(&target)
        .arg("--manifest-path")
        .arg(Path::new(FIXTURES).join("Cargo.toml"));
    // The settings of the outer build are not meant for guests.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_cargo = name.starts_with("CARGO_") && name != "CARGO_HOME";
        if is_cargo && !name.starts_with("CARGO_NET") || name == "RUSTFLAGS" {
            cargo.env_remove(&*name);
        }
    }
    assert!(
        cargo.status().unwrap().success(),
        "the fixtures do not build"
    );
    std::fs::read(target.join("wasm32-wasip2/release/leaks.wasm")).unwrap()
}

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

#[derive(Clone)]
struct Leaks {
    store: Arc<Mutex<Store<Data>>>,
    instance: Instance,
    symbols: Arc<Symbols>,
}

impl Leaks {
    async fn start() -> Self {
        let original = leaks();
        let instrumented = instrument(&original, &guest_heap::Options::default()).unwrap();
        let mut config = Config::new();
        guest_heap::configure(&mut config);
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, &instrumented.component).unwrap();
        let mut linker: Linker<Data> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder).unwrap();
        let data = Data {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            recorder: Recorder::new(instrumented.meta),
            calls: 0,
        };
        let mut store = Store::new(&engine, data);
        let instance = linker
            .instantiate_async(&mut store, &component)
            .await
            .unwrap();
        Self {
            store: Arc::new(Mutex::new(store)),
            instance,
            symbols: Arc::new(Symbols::new(&original, SymbolOptions::default()).unwrap()),
        }
    }

    /// Calls a function of the leaking interface. Returns whether it did not trap.
    async fn call(&self, interface: &str, function: &str, times: u32) -> bool {
        let mut store = self.store.lock().await;
        let interface = self.instance.get_export_index(&mut *store, None, interface);
        let export = self
            .instance
            .get_export_index(&mut *store, interface.as_ref(), function);
        let function = self
            .instance
            .get_func(&mut *store, export.unwrap())
            .unwrap();
        for _ in 0..times {
            if function
                .call_async(&mut *store, &[], &mut [])
                .await
                .is_err()
            {
                return false;
            }
            store.data_mut().calls += 1;
        }
        true
    }
}

impl HeapSource for Leaks {
    fn guests(&self) -> Vec<String> {
        vec!["leaks".to_owned()]
    }

    async fn read(&self, _guest: &str) -> Result<HeapReading, HeapError> {
        let store = self.store.lock().await;
        let data = store.data();
        let reading = HeapReading::new(&data.recorder, &*store, &self.symbols);
        Ok(reading.with_calls(data.calls))
    }
}

/// The line of a fixture that a comment `LEAK name` marks, as a location.
fn marked_line(name: &str) -> (String, String) {
    let source = std::fs::read_to_string(PathBuf::from(FIXTURES).join("leaks/src/lib.rs")).unwrap();
    let marked = |line: &&str| line.ends_with(&format!("// LEAK {name}"));
    let position = source.lines().position(|line| marked(&line)).unwrap();
    let text = source.lines().nth(position).unwrap().to_owned();
    (format!("leaks/src/lib.rs:{}", position + 1), text)
}

#[tokio::test]
async fn the_line_that_leaks_is_found_while_the_guest_runs() {
    let guest = Leaks::start().await;
    let options = Options {
        max_reading_age: std::time::Duration::ZERO,
        source_roots: vec![FIXTURES.into()],
        ..Options::default()
    };
    let mounted = Mounted::with_options(guest.clone(), options);
    assert!(guest.call(LEAKING, "unbounded-cache", 10).await);
    let before = mounted.json("/debug/heap/snapshot").await;
    assert_eq!(
        before["guests"][0]["attribution"],
        json!("exact"),
        "{before}"
    );
    assert_eq!(before["guests"][0]["line_tables"], json!("present"));

    assert!(guest.call(LEAKING, "unbounded-cache", 50).await);
    let diff = mounted.json("/debug/heap/diff").await;
    let (location, text) = marked_line("unbounded-cache");
    let row = diff["growing"].as_array().unwrap().iter();
    let row = row.clone().find(|row| row["location"] == json!(location));
    let row = row.unwrap_or_else(|| panic!("{location} in {diff}"));
    assert_eq!((&row["bytes"], &row["blocks"]), (&json!(5000), &json!(50)));
    assert_eq!(row["bytes_per_call"], json!(100.0));

    let source = mounted
        .json(&format!("/debug/heap/source?location={location}&context=0"))
        .await;
    assert_eq!(source["lines"], json!([text]));
    let page = mounted
        .get(&format!("/debug/heap/?location={location}"))
        .await
        .text();
    assert!(page.contains("<tr class=\"hit\">"), "{page}");
    let hidden = mounted
        .error("/debug/heap/source?location=Cargo.toml:1", 404)
        .await;
    assert!(hidden[1].contains("no call stack"), "{hidden:?}");
}

#[tokio::test]
async fn a_guest_that_has_trapped_stays_readable() {
    let guest = Leaks::start().await;
    let mounted = Mounted::of(guest.clone());
    assert!(!guest.call("leaks:guest/sound@1.0.0", "trap", 1).await);
    let snapshot = mounted.json("/debug/heap/snapshot").await;
    let (location, _) = marked_line("trap");
    let row = snapshot["rows"].as_array().unwrap().iter();
    let row = row.clone().find(|row| row["location"] == json!(location));
    let row = row.unwrap_or_else(|| panic!("{location} in {snapshot}"));
    assert_eq!(row["live_bytes"], json!(12_345));
    let traces = mounted.get("/debug/pprof/heap?debug=1").await.text();
    assert!(traces.contains(&location), "{traces}");
}
