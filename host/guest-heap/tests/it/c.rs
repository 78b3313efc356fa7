//! A guest in C. The test is skipped without a compiler and a C library for wasm.

use std::process::Command;

use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, Context, Options, instrument};
use wasm_encoder::{
    CanonicalFunctionSection, CanonicalOption, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentTypeSection, ComponentValType,
    ExportKind, InstanceSection, PrimitiveValType, RawSection,
};

use crate::fixtures;
use crate::guest::Guest;
use crate::wat_guest::{attribution, check_same, component_with, lifted};

/// Compilers that may be installed, with their first arguments.
const COMPILERS: [(&str, &[&str]); 3] = [
    ("clang", &[]),
    ("zig", &["cc"]),
    ("python3", &["-m", "ziglang", "cc"]),
];

/// Arguments for a program with the C library.
const WITH_LIBRARY: &[&str] = &["--target=wasm32-wasi", "-mexec-model=reactor"];

/// Arguments for a program that needs no library.
const ALONE: &[&str] = &[
    "--target=wasm32-freestanding",
    "-nostdlib",
    "-Wl,--no-entry",
];

/// Compiles a file of `fixtures/c`. `None` without a compiler for it.
fn compile(source: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    std::fs::create_dir_all(fixtures::target_folder()).unwrap();
    // Each test has a file of its own, because tests run at the same time.
    let out = fixtures::target_folder().join(format!("{source}-{}.wasm", arguments.len()));
    let compiled = |(compiler, first): &(&str, &[&str])| {
        let output = Command::new(compiler)
            .args(*first)
            .args(arguments)
            .args(["-O2", "-g", "-o"])
            .arg(&out)
            .arg(fixtures::folder().join("c").join(source))
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    if COMPILERS.iter().any(compiled) {
        return Some(fixtures::read(&out));
    }
    println!("skipped: {source} (neither clang with wasi-libc nor zig is installed)");
    None
}

/// A component around the module, like one from a bindings generator.
fn component(module: &[u8]) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&RawSection {
        id: 1,
        data: module,
    });
    let mut instances = InstanceSection::new();
    instances.instantiate::<[(&str, wasm_encoder::ModuleArg); 0], &str>(0, []);
    component.section(&instances);
    let mut aliases = ComponentAliasSection::new();
    let mut alias = |kind, name| {
        aliases.alias(wasm_encoder::Alias::CoreInstanceExport {
            instance: 0,
            kind,
            name,
        });
    };
    alias(ExportKind::Memory, "memory");
    for name in ["cabi_realloc", "push", "grow", "drop"] {
        alias(ExportKind::Func, name);
    }
    component.section(&aliases);
    let number = ComponentValType::Primitive(PrimitiveValType::U32);
    let text = ComponentValType::Primitive(PrimitiveValType::String);
    let mut types = ComponentTypeSection::new();
    types.function().params([("text", text)]).result(None);
    types
        .function()
        .params([("count", number)])
        .result(Some(number));
    types
        .function()
        .params::<[(&str, ComponentValType); 0], _>([])
        .result(Some(number));
    component.section(&types);
    let mut functions = CanonicalFunctionSection::new();
    let options = [
        CanonicalOption::UTF8,
        CanonicalOption::Memory(0),
        CanonicalOption::Realloc(0),
    ];
    functions.lift(1, 0, options);
    functions.lift(2, 1, []);
    functions.lift(3, 2, []);
    component.section(&functions);
    let mut exports = ComponentExportSection::new();
    for (name, index) in [("push", 0), ("grow", 1), ("drop", 2)] {
        exports.export(name, ComponentExportKind::Func, index, None);
    }
    component.section(&exports);
    component.finish()
}

#[test]
fn a_program_in_c_is_attributed_exactly() {
    let Some(module) = compile("list.c", WITH_LIBRARY) else {
        return;
    };
    let bytes = component(&module);
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(*instrumented.attribution(), Attribution::Exact);
    let mut guests = [Guest::original(&bytes), Guest::instrumented(&bytes)];
    for guest in &mut guests {
        for length in 0..100_usize {
            guest.call::<_, ()>("push", ("c".repeat(length),)).unwrap();
        }
        assert_eq!(
            guest.call::<_, (u32,)>("grow", (1000_u32,)).unwrap(),
            (3 * 999 * 500,)
        );
    }
    let [original, guest] = &mut guests;
    // A node consists of a pointer, the text and a zero byte.
    assert_eq!(
        guest.live(),
        ((0..100).map(|length| 4 + length + 1).sum(), 100)
    );
    assert_eq!(
        guest.call::<_, (u32,)>("drop", ()).unwrap(),
        original.call::<_, (u32,)>("drop", ()).unwrap()
    );
    assert_eq!(guest.live(), (0, 0));
    assert_eq!(guest.totals().unknown_frees, 0);
}

#[test]
fn both_halves_of_a_composed_program_in_c_are_attributed_exactly() {
    let (Some(store), Some(client)) = (
        compile("store.c", WITH_LIBRARY),
        compile("client.c", WITH_LIBRARY),
    ) else {
        return;
    };
    let bytes = component_with(
        r#"(component $store
            (core module $m)
            (core instance $i (instantiate $m))
            (func $put (param "size" s32) (result s32) (canon lift (core func $i "put")))
            (instance $store (export "put" (func $put)))
            (export "x:y/store" (instance $store)))
        (component $client
            (import "x:y/store" (instance $store
                (export "put" (func (param "size" s32) (result s32)))))
            (core func $put (canon lower (func $store "put")))
            (core instance $imports (export "put" (func $put)))
            (core module $m)
            (core instance $i (instantiate $m (with "store" (instance $imports))))
            (func (export "run") (param "count" s32) (result s32)
                (canon lift (core func $i "run"))))
        (instance $inner (instantiate $store))
        (instance $outer (instantiate $client
            (with "x:y/store" (instance $inner "x:y/store"))))
        (export "run" (func $outer "run"))"#,
        &[&store, &client],
    );
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(*instrumented.attribution(), Attribution::Exact);
    let mut guest = Guest::instrumented(&bytes);
    let mut original = Guest::original(&bytes);
    for count in [100_i32, 3] {
        assert_eq!(
            guest.call::<_, (i32,)>("run", (count,)).unwrap(),
            original.call::<_, (i32,)>("run", (count,)).unwrap()
        );
    }
    assert_eq!(guest.live(), (103 * 1050, 206));
    let symbols = Symbols::new(&bytes, SymbolOptions::default()).unwrap();
    let recorder = &guest.store.data().recorder;
    let mut lines: Vec<_> = guest
        .reading()
        .contexts
        .iter()
        .map(|record| {
            let Context::Stack(frames) = recorder.context(&guest.store, record.index) else {
                panic!("{record:?}")
            };
            let resolved = symbols.resolve(frames[0]);
            let frame = &resolved[0];
            let file = frame.file.as_deref().unwrap_or_default();
            let name = file.rsplit('/').next().unwrap_or_default().to_owned();
            (name, frame.line, record.live_bytes())
        })
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            ("client.c".to_owned(), Some(12), 103 * 50),
            ("store.c".to_owned(), Some(9), 103 * 1000)
        ]
    );
}

#[test]
fn an_allocator_that_the_compiler_has_inlined_is_never_exact() {
    let with_path = [ALONE, &["-DINLINED"]].concat();
    let (Some(clean), Some(inlined)) = (
        compile("inlined.c", ALONE),
        compile("inlined.c", &with_path),
    ) else {
        return;
    };
    assert_eq!(attribution(&lifted(&clean)), Attribution::Exact);
    let guest = check_same(&lifted(&clean), 1000);
    assert_eq!(guest.live(), (1_000_000, 2000));
    let reading = guest.reading();
    assert_eq!(
        reading.attribution(guest.store.data().recorder.meta()),
        Attribution::Exact
    );
    assert!(reading.coverage.heap_seen_bytes > 900_000, "{reading:?}");

    let Attribution::Partial { why } = attribution(&lifted(&inlined)) else {
        panic!()
    };
    assert!(why.contains("writes the data of its allocator"), "{why}");
    assert!(
        why.ends_with("in leak_inlined") || why.ends_with("in run"),
        "{why}"
    );
    let guest = check_same(&lifted(&inlined), 1000);
    assert!(guest.live().0 < 600_000, "{:?}", guest.live());
}
