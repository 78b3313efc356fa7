//! Components with several core modules, several instances, or nested components.

use guest_heap::{Attribution, Options, instrument};

use crate::wat_guest::{ALLOCATOR, attribution, by_name, check_same, component, names};

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
        names(&[("initialisation", 100), ("stack of 1", 10)])
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
fn modules_that_share_a_memory_share_heap_tables() {
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
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let mut guest = check_same(&bytes, 10);
    guest.call::<_, (u32,)>("take", ("four",)).unwrap();
    assert_eq!(
        by_name(&guest),
        names(&[
            ("arguments of take", 4),
            ("post-return of post", 1),
            ("stack of 1", 10)
        ])
    );
}

/// A module whose export `run` allocates `n` bytes, and a component with it.
fn inner(name: &str) -> String {
    format!(
        r#"(component ${name}
            (core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
            (core instance $i (instantiate $m))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#
    )
}

#[test]
fn nested_components_have_heap_tables_for_each_instantiation() {
    let bytes = component(&format!(
        r#"{}
        (instance $one (instantiate $inner))
        (instance $two (instantiate $inner))
        (export "run" (func $one "run"))
        (export "run-two" (func $two "run"))"#,
        inner("inner")
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let mut guest = check_same(&bytes, 5);
    guest.call::<_, (u32,)>("run-two", (100_u32,)).unwrap();
    guest.call::<_, (u32,)>("run-two", (100_u32,)).unwrap();
    assert_eq!(by_name(&guest), names(&[("stack of 1", 5 + 200)]));
    let per_instance: Vec<_> = guest
        .reading()
        .contexts
        .iter()
        .map(|record| record.live_bytes())
        .collect();
    assert_eq!(per_instance, [5, 200]);
}

#[test]
fn a_component_and_the_ones_inside_it_have_one_report() {
    // Types before and behind the nested component: their indices move.
    let bytes = component(&format!(
        r#"(type $pair (tuple u32 u32))
        (import "fetch" (func $fetch (param "length" u32) (result string)))
        {}
        (instance $inner (instantiate $inner))
        (type $also (record (field "first" $pair) (field "second" u32)))
        (core module $m {ALLOCATOR}
            (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (core instance $i (instantiate $m))
        (alias export $inner "run" (func $run-inner))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))
        (export "run-inner" (func $run-inner))
        (instance $bundle (export "run" (func $run-inner)))
        (export "bundle" (instance $bundle))"#,
        inner("inner")
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let mut guest = check_same(&bytes, 5);
    guest.call::<_, (u32,)>("run-inner", (100_u32,)).unwrap();
    assert_eq!(guest.live(), (105, 2));
    assert_eq!(by_name(&guest), names(&[("stack of 1", 105)]));
}

#[test]
fn a_call_into_a_nested_component_begins_a_call_stack() {
    // `outer` allocates and calls `inner`, which allocates, too. Both are inside a third one, which
    // passes a type to the inner one.
    let bytes = component(&format!(
        r#"(component $middle
            (type $number u32)
            {}
            (component $outer
                (alias outer $middle $number (type $n))
                (import "put" (func $put (param "n" u32) (result $n)))
                (core func $lowered (canon lower (func $put)))
                (core module $m
                    (import "" "put" (func $put (param i32) (result i32)))
                    {ALLOCATOR}
                    (func $step (param i32) (result i32)
                        (drop (call $malloc (i32.const 7))) (call $put (local.get 0)))
                    (func (export "run") (param i32) (result i32)
                        (drop (call $step (local.get 0))) (call $step (local.get 0))))
                (core instance $args (export "put" (func $lowered)))
                (core instance $i (instantiate $m (with "" (instance $args))))
                (func (export "run") (param "n" u32) (result $n) (canon lift (core func $i "run"))))
            (instance $in (instantiate $inner))
            (instance $out (instantiate $outer (with "put" (func $in "run"))))
            (export "run" (func $out "run")))
        (instance $middle (instantiate $middle))
        (export "run" (func $middle "run"))"#,
        inner("inner")
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 50);
    assert_eq!(guest.live(), (2 * 7 + 2 * 50, 4));
    // The stacks of the inner component do not have the frames of its caller.
    assert_eq!(
        by_name(&guest),
        names(&[("stack of 1", 100), ("stack of 2", 14)])
    );
}

#[test]
fn a_nested_component_that_is_passed_on_stays_unchanged_with_the_reason() {
    let bytes = component(&format!(
        r#"{} (instance $i (instantiate $inner))
        (export "run" (func $i "run"))
        (export "component" (component $inner))"#,
        inner("inner")
    ));
    let Attribution::Off { why } = attribution(&bytes) else {
        panic!()
    };
    assert_eq!(
        why,
        "a nested component allocates, and it is exported or passed to another component, so the \
         profiler cannot change its imports"
    );
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(instrumented.component, bytes);
}

#[test]
fn a_module_that_a_nested_component_instantiates_is_instrumented() {
    let bytes = component(&format!(
        r#"(core module $m {ALLOCATOR} (func (export "run") (param i32) (result i32) (call $malloc (local.get 0))))
        (component $inner
            (alias outer 1 $m (core module $m))
            (core instance $i (instantiate $m))
            (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))
        (instance $inner (instantiate $inner))
        (export "run" (func $inner "run"))"#
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    assert_eq!(by_name(&check_same(&bytes, 5)), names(&[("stack of 1", 5)]));
}
