//! A guest in C. The test is skipped without a compiler and a C library for wasm.

use std::path::Path;
use std::process::Command;

use guest_heap::{Attribution, Options, instrument};
use wasm_encoder::{
    CanonicalFunctionSection, CanonicalOption, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentTypeSection, ComponentValType,
    ExportKind, InstanceSection, PrimitiveValType, RawSection,
};

use crate::fixtures;
use crate::guest::Guest;

/// Compilers that may be installed, with their arguments.
const COMPILERS: [(&str, &[&str]); 3] = [
    ("clang", &["--target=wasm32-wasi", "-mexec-model=reactor"]),
    (
        "zig",
        &["cc", "--target=wasm32-wasi", "-mexec-model=reactor"],
    ),
    (
        "python3",
        &[
            "-m",
            "ziglang",
            "cc",
            "--target=wasm32-wasi",
            "-mexec-model=reactor",
        ],
    ),
];

fn compile() -> Option<Vec<u8>> {
    let out = fixtures::target_folder().join("list.wasm");
    std::fs::create_dir_all(fixtures::target_folder()).unwrap();
    let compiled = |(compiler, arguments): &(&str, &[&str])| {
        let output = Command::new(compiler)
            .args(*arguments)
            .args(["-O2", "-g", "-o"])
            .arg(&out)
            .arg(fixtures::folder().join("c/list.c"))
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    COMPILERS
        .iter()
        .any(compiled)
        .then(|| fixtures::read(Path::new(&out)))
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
    let Some(module) = compile() else {
        println!(
            "skipped: 1 test of a guest in C (neither clang with wasi-libc nor zig is installed)"
        );
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
