//! Generated programs in components of other shapes: several core modules, nested components,
//! 64-bit memories. An instrumented program behaves like the original.

use std::sync::Arc;

use arbitrary::Unstructured;
use guest_heap::{Attribution, InstrumentedMeta, Options, instrument};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use wasmtime::Engine;

use crate::guest::config;
use crate::hostile::{behaviour, check_instruments, with_names};
use crate::wat_guest::lifted;
use crate::wat_guest::{ALLOCATOR, component_with};

/// The module whose functions and memory the generated one imports.
const LIBC: &str = r#"(module
    (import "libc" "memory" (memory 2))
    (import "libc" "malloc" (func (param i32) (result i32)))
    (import "libc" "free" (func (param i32)))
    (import "libc" "cabi_realloc" (func (param i32 i32 i32 i32) (result i32))))"#;

const EXPORTS: &str = r#"(module
    (func (export "malloc") (param i32) (result i32) unreachable)
    (func (export "free") (param i32))
    (func (export "run") (param i32) (result i32) unreachable))"#;

/// A module with random code. Every call terminates.
fn generate(seed: u64, imports: Option<&str>, memory64: bool) -> Option<Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut bytes = vec![0; 4096];
    random.fill_bytes(&mut bytes);
    let exports = if imports.is_some() {
        r#"(module (func (export "run") (param i32) (result i32) unreachable))"#
    } else {
        EXPORTS
    };
    let config = wasm_smith::Config {
        exports: Some(wat::parse_str(exports).unwrap()),
        available_imports: imports.map(|imports| wat::parse_str(imports).unwrap()),
        min_imports: if imports.is_some() { 4 } else { 0 },
        max_imports: if imports.is_some() { 4 } else { 0 },
        max_memories: if imports.is_some() { 1 } else { 2 },
        max_memory32_bytes: 4 << 16,
        max_memory64_bytes: 4 << 16,
        memory64_enabled: memory64,
        // The wasm engine does not support them yet.
        canonicalize_nans: true,
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        relaxed_simd_enabled: false,
        max_table_elements: 1000,
        allow_start_export: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(10_000).ok()?;
    Some(with_names(module.to_bytes()))
}

/// A component in which the generated module is one of two that share a memory.
fn linked(module: &[u8]) -> Vec<u8> {
    let items = format!(
        r#"(core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $app)
        (core instance $app (instantiate $app (with "libc" (instance $libc))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))"#
    );
    component_with(&items, &[module])
}

/// A component in which this component is inside another one, and that inside the outermost one.
fn nested(inner: &[u8]) -> Vec<u8> {
    let mut component = inner.to_vec();
    for _ in 0..2 {
        let mut outer = wasm_encoder::Component::new();
        outer.section(&wasm_encoder::RawSection {
            id: wasm_encoder::ComponentSectionId::Component as u8,
            data: &component,
        });
        let mut instances = wasm_encoder::ComponentInstanceSection::new();
        instances.instantiate::<[(&str, _, u32); 0], &str>(0, []);
        outer.section(&instances);
        let mut aliases = wasm_encoder::ComponentAliasSection::new();
        aliases.alias(wasm_encoder::Alias::InstanceExport {
            instance: 0,
            kind: wasm_encoder::ComponentExportKind::Func,
            name: "run",
        });
        outer.section(&aliases);
        let mut exports = wasm_encoder::ComponentExportSection::new();
        exports.export("run", wasm_encoder::ComponentExportKind::Func, 0, None);
        outer.section(&exports);
        component = outer.finish();
    }
    component
}

/// Compares the instrumented program with the original. Returns whether it is instrumented.
fn check(engine: &Engine, original: &[u8], name: &str) -> bool {
    if check_instruments(original, name).is_none() {
        return false;
    }
    let ours = instrument(original, &Options::default()).unwrap();
    let off = Arc::new(InstrumentedMeta::off("for comparison"));
    let expected = behaviour(engine, original, off);
    let actual = behaviour(engine, &ours.component, ours.meta);
    // An instrumented function has a larger frame, so fewer frames exhaust the stack.
    let mut results = expected.iter().chain(&actual);
    if !results.any(|result| result == "StackOverflow") {
        assert_eq!(actual, expected, "{name}");
    }
    true
}

#[test]
fn modules_that_share_a_memory_behave_like_the_original() {
    let engine = Engine::new(&config()).unwrap();
    let (mut checked, mut shared) = (0, 0);
    for seed in 0..120 {
        let Some(module) = generate(seed, Some(LIBC), false) else {
            continue;
        };
        let original = linked(&module);
        if check(&engine, &original, &format!("linked program {seed}")) {
            checked += 1;
            let ours = instrument(&original, &Options::default()).unwrap();
            shared += usize::from(ours.report.modules.len() == 2);
        }
    }
    assert!(
        checked > 60 && shared > 20,
        "{checked} checked, {shared} with shared tables"
    );
}

#[test]
fn nested_programs_behave_like_the_original() {
    let engine = Engine::new(&config()).unwrap();
    let mut checked = 0;
    for seed in 0..150 {
        let Some(module) = generate(seed, None, false) else {
            continue;
        };
        let name = format!("nested program {seed}");
        checked += usize::from(check(&engine, &nested(&lifted(&module)), &name));
    }
    assert!(checked > 30, "{checked} checked");
}

#[test]
fn programs_with_64_bit_memories_are_refused_by_name_or_behave_like_the_original() {
    let engine = Engine::new(&config()).unwrap();
    let (mut refused, mut checked) = (0, 0);
    for seed in 0..200 {
        let Some(module) = generate(seed, None, true) else {
            continue;
        };
        let original = lifted(&module);
        let ours = instrument(&original, &Options::default()).unwrap();
        match ours.attribution() {
            Attribution::Off { why } => refused += usize::from(why.contains("64-bit memory")),
            _ => {
                let name = format!("64-bit program {seed}");
                checked += usize::from(check(&engine, &original, &name));
            }
        }
    }
    assert!(refused > 10, "{refused} refused, {checked} checked");
}
