//! Small components in text format, and checks of their heaps.

use std::collections::BTreeMap;

use guest_heap::{Attribution, Context, Options, instrument};
use wasm_encoder::{
    ComponentBuilder, ComponentExportKind, ComponentValType, ExportKind, ModuleArg,
    PrimitiveValType,
};

use crate::guest::Guest;

/// A bump allocator whose functions have names.
pub(crate) const ALLOCATOR: &str = r#"
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func $malloc (export "malloc") (param $size i32) (result i32)
        (local $block i32)
        (local.set $block (global.get $next))
        (global.set $next (i32.add (global.get $next)
            (i32.and (i32.add (local.get $size) (i32.const 23)) (i32.const -16))))
        (local.get $block))
    (func $free (export "free") (param i32))
    (func $cabi_realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (call $malloc (local.get 3)))
"#;

/// A component with one core module, which has [`ALLOCATOR`] and these functions. The component
/// lifts the export `run`.
pub(crate) fn single(functions: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {ALLOCATOR} {functions})
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ))
}

/// A component with these items.
pub(crate) fn component(items: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {items})")).unwrap()
}

/// A component around this module. It lifts the export `run`.
pub(crate) fn lifted(module: &[u8]) -> Vec<u8> {
    let mut component = ComponentBuilder::default();
    let module = component.core_module_raw(None, module);
    let instance =
        component.core_instantiate(None, module, std::iter::empty::<(&str, ModuleArg)>());
    let core = component.core_alias_export(None, instance, "run", ExportKind::Func);
    let number = ComponentValType::Primitive(PrimitiveValType::U32);
    let (ty, mut signature) = component.type_function(None);
    signature.params([("n", number)]).result(Some(number));
    let run = component.lift_func(None, core, ty, []);
    component.export("run", ComponentExportKind::Func, run, None);
    component.finish()
}

/// A component with these items, in which binaries replace its empty core modules in the order of
/// the text.
pub(crate) fn component_with(items: &str, modules: &[&[u8]]) -> Vec<u8> {
    replace_modules(&component(items), &mut modules.iter())
}

fn replace_modules(component: &[u8], modules: &mut std::slice::Iter<'_, &[u8]>) -> Vec<u8> {
    const MODULE: u8 = wasm_encoder::ComponentSectionId::CoreModule as u8;
    const COMPONENT: u8 = wasm_encoder::ComponentSectionId::Component as u8;
    const HEADER: usize = 8;
    let mut written = component[..HEADER].to_vec();
    let mut reader = wasmparser::BinaryReader::new(&component[HEADER..], 0);
    while !reader.eof() {
        let id = reader.read_u8().unwrap();
        let size = reader.read_var_u32().unwrap();
        let contents = reader.read_bytes(size as usize).unwrap();
        let new = match id {
            MODULE if is_empty(contents) => modules.next().unwrap().to_vec(),
            COMPONENT => replace_modules(contents, modules),
            _ => contents.to_vec(),
        };
        wasm_encoder::Section::append_to(
            &wasm_encoder::RawSection { id, data: &new },
            &mut written,
        );
    }
    written
}

/// Whether a module has only a name.
fn is_empty(module: &[u8]) -> bool {
    let mut payloads = wasmparser::Parser::new(0).parse_all(module);
    payloads.all(|payload| {
        use wasmparser::Payload::{CustomSection, End, Version};
        matches!(payload.unwrap(), CustomSection(_) | End(_) | Version { .. })
    })
}

pub(crate) fn attribution(component: &[u8]) -> Attribution {
    instrument(component, &Options::default())
        .unwrap()
        .attribution()
        .clone()
}

pub(crate) fn run(guest: &mut Guest, n: u32) -> u32 {
    guest.call::<_, (u32,)>("run", (n,)).unwrap().0
}

/// Live bytes by the name of the context. A call stack has the name `stack of DEPTH`.
pub(crate) fn by_name(guest: &Guest) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for record in guest.reading().contexts {
        let name = match guest
            .store
            .data()
            .recorder
            .context(&guest.store, record.index)
        {
            Context::Stack(frames) => format!("stack of {}", frames.len()),
            Context::Interpreted(_) => "lines".to_owned(),
            Context::Synthetic(name) => name.to_string(),
        };
        *names.entry(name).or_default() += record.live_bytes();
    }
    names
}

/// The expected result of [`by_name`].
pub(crate) fn names(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), *bytes))
        .collect()
}

/// Checks that the instrumented component returns the same result as the original, and that no
/// context represents two stacks. Returns the instrumented guest after the call.
pub(crate) fn check_same(component: &[u8], n: u32) -> Guest {
    let expected = run(&mut Guest::original(component), n);
    let mut options = Options::default();
    options.check_contexts = true;
    let mut checking = Guest::with_options(component, &options);
    assert_eq!(run(&mut checking, n), expected);
    assert_eq!(
        checking
            .store
            .data()
            .recorder
            .checked(&checking.store)
            .mismatches,
        0
    );
    let mut guest = Guest::instrumented(component);
    assert_eq!(run(&mut guest, n), expected);
    guest
}

/// Live bytes of all contexts with a call stack.
pub(crate) fn with_stacks(guest: &Guest) -> u64 {
    let names = by_name(guest);
    let stacks = names.iter().filter(|(name, _)| name.starts_with("stack"));
    stacks.map(|(_, bytes)| bytes).sum()
}
