//! Components with several core modules, several instances, or nested components.

use guest_heap::{Attribution, Options, instrument};

use crate::guest::Guest;
use crate::wat_guest::{ALLOCATOR, attribution, by_name, check_same, component, names, run};

#[test]
fn allocations_of_an_initialiser_have_a_context_of_their_own() {
    let bytes = component(&format!(
        r#"(core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $app
            (import "libc" "malloc" (func $malloc (param i32) (result i32)))
            (func $begin (drop (call $malloc (i32.const 100))))
            (start $begin)
            (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $app (instantiate $app (with "libc" (instance $libc))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))"#
    ));
    let guest = check_same(&bytes, 10);
    assert_eq!(
        by_name(&guest),
        names(&[
            ("initialisation", 100),
            ("other modules through malloc", 10)
        ])
    );
}

#[test]
fn each_allocating_module_has_heap_tables_of_its_own() {
    let bytes = component(&format!(
        r#"(core module $a {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core module $b {ALLOCATOR} (func (export "run") (param i32) (result i32)
            (drop (call $malloc (local.get 0))) (call $malloc (local.get 0))))
        (core instance $a (instantiate $a))
        (core instance $b (instantiate $b))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $a "run")))
        (func (export "run-b") (param "n" u32) (result u32) (canon lift (core func $b "run")))"#
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let mut guest = check_same(&bytes, 10);
    guest.call::<_, (u32,)>("run-b", (100_u32,)).unwrap();
    assert_eq!(guest.live(), (210, 3));
    let mut indices: Vec<_> = guest
        .reading()
        .contexts
        .iter()
        .map(|record| record.index)
        .collect();
    indices.dedup();
    assert_eq!(indices.len(), 3, "{:?}", guest.reading());
    assert_eq!(by_name(&guest), names(&[("stack of 1", 210)]));
}

#[test]
fn each_instance_of_a_module_has_heap_tables_of_its_own() {
    let bytes = component(&format!(
        r#"(core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $a (instantiate $m))
        (core instance $b (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $a "run")))
        (func (export "run-b") (param "n" u32) (result u32) (canon lift (core func $b "run")))"#
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let mut guest = check_same(&bytes, 10);
    guest.call::<_, (u32,)>("run-b", (100_u32,)).unwrap();
    assert_eq!(guest.live(), (110, 2));
    assert_eq!(guest.reading().contexts.len(), 2);
}

#[test]
fn blocks_from_another_modules_allocator_are_named_after_its_export() {
    // Like an interpreter of several modules: `cabi_realloc` and post-return are in another module
    // than the allocator.
    let bytes = component(&format!(
        r#"(core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $app
            (import "libc" "memory" (memory 0))
            (import "libc" "malloc" (func $malloc (param i32) (result i32)))
            (import "libc" "free" (func $free (param i32)))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $malloc (local.get 3)))
            (func (export "run") (param i32) (result i32) (call $malloc (local.get 0)))
            (func (export "take") (param i32 i32) (result i32) (call $malloc (i32.const 9)))
            (func (export "post") (param i32) (drop (call $malloc (i32.const 1))) (call $free (local.get 0))))
        (core instance $app (instantiate $app (with "libc" (instance $libc))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))
        (func (export "take") (param "text" string) (result u32)
            (canon lift (core func $app "take") (memory (core memory $libc "memory")) (realloc (core func $app "realloc"))
                (post-return (core func $app "post"))))"#
    ));
    let Attribution::Partial { why } = attribution(&bytes) else {
        panic!()
    };
    assert!(
        why.contains("core module 1 uses the allocator of another core module"),
        "{why}"
    );
    let mut guest = check_same(&bytes, 10);
    guest.call::<_, (u32,)>("take", ("four",)).unwrap();
    assert_eq!(
        by_name(&guest),
        names(&[("other modules through malloc", 10 + 4 + 1)])
    );
}

#[test]
fn a_nested_component_stays_unchanged_with_the_reason() {
    let inner = format!(
        r#"(component $inner
            (core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
            (core instance $i (instantiate $m))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))
        (instance $inner (instantiate $inner))"#
    );
    let bytes = component(&format!(r#"{inner} (export "run" (func $inner "run"))"#));
    let Attribution::Off { why } = attribution(&bytes) else {
        panic!()
    };
    assert_eq!(
        why,
        "a nested component allocates, and nested components are not instrumented"
    );
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(instrumented.component, bytes);
    assert_eq!(run(&mut Guest::instrumented(&bytes), 5), 4096);

    let both = component(&format!(
        r#"{inner}
        (core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))
        (export "run-inner" (func $inner "run"))"#
    ));
    assert!(matches!(attribution(&both), Attribution::Partial { .. }));
    let mut guest = check_same(&both, 5);
    guest.call::<_, (u32,)>("run-inner", (100_u32,)).unwrap();
    assert_eq!(guest.live(), (5, 1));
}
