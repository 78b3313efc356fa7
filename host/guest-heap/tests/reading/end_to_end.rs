//! The whole path: an instrumented guest leaks, and the diff of two readings names the right line.

use std::fs;
use std::sync::Arc;

use guest_heap::diff::{Baseline, Change, Diff};
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::Symbols;
use guest_heap::{Attribution, Options, Recorder, instrument};
use wasm_encoder::{
    CanonicalFunctionSection, Component as Wrapping, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentTypeSection, ComponentValType, ExportKind, InstanceSection,
    ModuleArg, PrimitiveValType, RawSection,
};
use wasmtime::component::{Component, Instance, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::lines_guest::{options, recorded, sources};
use crate::source_lines::marked_lines;

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

/// An instance of an instrumented guest.
struct InstrumentedGuest {
    store: Store<Data>,
    instance: Instance,
    symbols: Arc<Symbols>,
    attribution: Attribution,
}

impl InstrumentedGuest {
    fn new(original: &[u8]) -> Self {
        let instrumented = instrument(original, &Options::default()).unwrap();
        let mut config = Config::new();
        guest_heap::configure(&mut config);
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, &instrumented.component).unwrap();
        let mut linker: Linker<Data> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
        guest_heap::add_to_linker(&mut linker, |data| &mut data.recorder).unwrap();
        // The guest reports its allocations for tests without the profiler. This test ignores them.
        linker
            .root()
            .func_wrap("allocated", |_, (_,): (u32,)| Ok(()))
            .unwrap();
        let data = Data {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            recorder: Recorder::new(instrumented.meta.clone()),
        };
        let mut store = Store::new(&engine, data);
        let instance = linker.instantiate(&mut store, &component).unwrap();
        Self {
            store,
            instance,
            symbols: Arc::new(Symbols::new(original, options()).unwrap()),
            attribution: instrumented.attribution().clone(),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let recorder = &self.store.data().recorder;
        let context = |index| Some(recorder.context(&self.store, index));
        Snapshot::new(
            &recorder.read(&self.store),
            context,
            Arc::clone(&self.symbols),
        )
    }

    /// Runs a case of the guest and returns the line that has grown most.
    fn growth(&mut self, case: u32) -> Change {
        let before = Baseline::new(&self.snapshot());
        let run = self
            .instance
            .get_typed_func::<(u32,), ()>(&mut self.store, "run");
        run.unwrap().call(&mut self.store, (case,)).unwrap();
        let diff = Diff::new(&before, &self.snapshot(), GroupBy::Line, 5);
        let top = diff.growing.first().cloned();
        top.unwrap_or_else(|| panic!("case {case}: nothing has grown"))
    }
}

#[test]
fn the_diff_names_the_line_of_each_of_twenty_leaks() {
    let marked = marked_lines();
    let recorded = recorded();
    let mut guest = InstrumentedGuest::new(&recorded.component);
    assert_eq!(recorded.cases.len(), 20);
    for ((name, _), case) in recorded.cases.iter().zip(0..) {
        let top = guest.growth(case);
        assert_eq!(&*top.location, marked[name], "{name}: {top:#?}");
        assert!(top.bytes > 0 && top.objects > 0, "{name}: {top:#?}");
    }
}

#[test]
fn the_diff_names_the_line_of_each_leak_in_c() {
    let folder = tempfile::tempdir().unwrap();
    let Some(module) = crate::c_guest::build(folder.path(), &["lines.c"], &["-gline-tables-only"])
    else {
        return;
    };
    let mut guest = InstrumentedGuest::new(&component_of(&module));
    assert_eq!(guest.attribution, Attribution::Exact);
    let source = fs::read_to_string(sources().join("lines.c")).unwrap();
    for (name, case) in crate::c_guest::CASES.into_iter().zip(0..) {
        let mark = format!("/* leak: {name} */");
        let line = source.lines().position(|line| line.contains(&mark));
        let top = guest.growth(case);
        assert_eq!(
            &*top.location,
            format!("lines.c:{}", line.unwrap() + 1),
            "{name}: {top:#?}"
        );
    }
}

/// A component around the module. It lifts the export `run`.
fn component_of(module: &[u8]) -> Vec<u8> {
    let mut component = Wrapping::new();
    component.section(&RawSection {
        id: 1,
        data: module,
    });
    let mut instances = InstanceSection::new();
    instances.instantiate::<[(&str, ModuleArg); 0], &str>(0, []);
    component.section(&instances);
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(wasm_encoder::Alias::CoreInstanceExport {
        instance: 0,
        kind: ExportKind::Func,
        name: "run",
    });
    component.section(&aliases);
    let mut types = ComponentTypeSection::new();
    let number = ComponentValType::Primitive(PrimitiveValType::U32);
    types.function().params([("which", number)]).result(None);
    component.section(&types);
    let mut functions = CanonicalFunctionSection::new();
    functions.lift(0, 0, []);
    component.section(&functions);
    let mut exports = ComponentExportSection::new();
    exports.export("run", ComponentExportKind::Func, 0, None);
    component.section(&exports);
    component.finish()
}
