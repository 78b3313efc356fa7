//! Core modules that share a memory share one set of heap tables.

use guest_heap::Attribution;

use crate::wat_guest::{ALLOCATOR, attribution, by_name, check_same, component, names};

/// A component like those of dynamically linked modules: `$env` has the memory, the table and a
/// forwarding `malloc` for the module that is instantiated before the allocator.
fn dynamically_linked() -> Vec<u8> {
    component(
        r#"(core module $env
            (type $malloc (func (param i32) (result i32)))
            (memory (export "memory") 2)
            (table (export "table") 4 funcref)
            (global (export "next") (mut i32) (i32.const 4096))
            (func (export "malloc") (param i32) (result i32)
                local.get 0 i32.const 0 call_indirect (type $malloc)))
        (core instance $env (instantiate $env))
        (core module $early
            (import "env" "memory" (memory 1))
            (import "env" "malloc" (func $malloc (param i32) (result i32)))
            (func $twice (export "twice") (param i32) (result i32)
                (drop (call $malloc (local.get 0))) (call $malloc (local.get 0))))
        (core instance $early (instantiate $early (with "env" (instance $env))))
        (core module $libc
            (import "env" "memory" (memory 1))
            (import "env" "table" (table 4 funcref))
            (import "env" "next" (global $next (mut i32)))
            (func $malloc (export "malloc") (param $size i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next)
                    (i32.and (i32.add (local.get $size) (i32.const 23)) (i32.const -16)))))
            (func $free (export "free") (param i32))
            (elem (i32.const 0) $malloc))
        (core instance $libc (instantiate $libc (with "env" (instance $env))))
        (core module $app
            (type $callback (func (param i32) (result i32)))
            (import "env" "memory" (memory 1))
            (import "env" "table" (table 4 funcref))
            (import "libc" "malloc" (func $malloc (param i32) (result i32)))
            (import "libc" "free" (func $free (param i32)))
            (import "early" "twice" (func $twice (param i32) (result i32)))
            (func $keep (param i32) (result i32) (call $malloc (local.get 0)))
            (func (export "run") (param i32) (result i32)
                (drop (call $keep (local.get 0)))
                (drop (call $keep (i32.const 1000)))
                (call $free (call $keep (i32.const 3)))
                (drop (call $twice (local.get 0)))
                ;; Through the table that another module has filled.
                (call_indirect (type $callback) (i32.const 500) (i32.const 0))))
        (core instance $app (instantiate $app (with "env" (instance $env))
            (with "libc" (instance $libc)) (with "early" (instance $early))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))"#,
    )
}

#[test]
fn call_stacks_cross_dynamically_linked_modules() {
    let bytes = dynamically_linked();
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 10);
    let totals = guest.totals();
    assert_eq!(guest.live(), (10 + 1000 + 2 * 10 + 500, 5));
    assert_eq!((totals.allocated_objects, totals.unknown_frees), (6, 0));
    // `run`, `keep`; `run`, `twice`; `run`.
    assert_eq!(
        by_name(&guest),
        names(&[("stack of 1", 500), ("stack of 2", 10 + 1000 + 20)])
    );
}

/// A component like that of a command with an adapter: the adapter has the lifted export, and no
/// allocator. It takes its own memory from `cabi_realloc`.
fn adapted(adapter: &str) -> Vec<u8> {
    component(&format!(
        r#"(import "fetch" (func $fetch (param "length" u32) (result string)))
        (core module $shim
            (type $f (func (param i32 i32)))
            (table (export "table") 1 funcref)
            (func (export "0") (param i32 i32)
                local.get 0 local.get 1 i32.const 0 call_indirect (type $f)))
        (core instance $shim (instantiate $shim))
        (core module $main
            (import "shim" "0" (func $adapted (param i32 i32)))
            {ALLOCATOR}
            (func $work (param i32) (drop (call $malloc (local.get 0))))
            (func $start (export "_start") (param i32)
                (call $work (local.get 0)) (call $work (i32.const 100))
                (call $adapted (i32.const 20) (i32.const 8))))
        (core instance $main (instantiate $main (with "shim" (instance $shim))))
        (core module $adapter
            (import "main" "memory" (memory 0))
            (import "main" "cabi_realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
            (import "main" "_start" (func $start (param i32)))
            (import "host" "fetch" (func $fetch (param i32 i32)))
            (func (export "adapted") (param i32 i32)
                (call $fetch (local.get 0) (local.get 1)))
            (func (export "run") (param i32) (result i32)
                {adapter}
                (call $start (local.get 0))
                (i32.const 0)))
        (core func $fetch (canon lower (func $fetch) (memory (core memory $main "memory"))
            (realloc (core func $main "cabi_realloc"))))
        (core instance $host (export "fetch" (func $fetch)))
        (core instance $adapter (instantiate $adapter
            (with "main" (instance $main)) (with "host" (instance $host))))
        (core module $fixup
            (import "" "table" (table 1 funcref))
            (import "" "0" (func (param i32 i32)))
            (elem (i32.const 0) func 0))
        (core instance $functions (export "table" (table $shim "table"))
            (export "0" (func $adapter "adapted")))
        (core instance (instantiate $fixup (with "" (instance $functions))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $adapter "run")))"#
    ))
}

#[test]
fn an_adapter_without_an_allocator_is_an_ordinary_caller() {
    let bytes = adapted("");
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 10);
    assert_eq!(guest.live(), (10 + 100 + 20, 3));
    // The adapter's `run`, then `_start` and `work`. The text belongs to the call in `_start`.
    assert_eq!(
        by_name(&guest),
        names(&[("stack of 2", 20), ("stack of 3", 110)])
    );
}

#[test]
fn a_block_that_an_adapter_takes_has_the_stack_of_the_adapter() {
    let realloc = "(drop (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 77)))";
    let bytes = adapted(realloc);
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 10);
    assert_eq!(
        by_name(&guest),
        names(&[("stack of 1", 77), ("stack of 2", 20), ("stack of 3", 110)])
    );
}

#[test]
fn a_module_with_functions_that_end_in_an_imported_allocator_has_none_itself() {
    // Rust's entry points in a module that imports `malloc`: each block counts once.
    let bytes = component(&format!(
        r#"(core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $app
            (import "libc" "memory" (memory 0))
            (import "libc" "malloc" (func $malloc (param i32) (result i32)))
            (func $__rust_alloc (param i32 i32) (result i32) (call $malloc (local.get 0)))
            (func $__rust_dealloc (param i32 i32 i32))
            (func (export "run") (param i32) (result i32)
                (call $__rust_alloc (local.get 0) (i32.const 8))))
        (core instance $app (instantiate $app (with "libc" (instance $libc))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))"#
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 64);
    assert_eq!(guest.totals().allocated_objects, 1);
    assert_eq!(by_name(&guest), names(&[("stack of 2", 64)]));
}

#[test]
fn an_exception_may_cross_modules() {
    let bytes = component(&format!(
        r#"(core module $libc {ALLOCATOR}
            (tag $error (export "error") (param i32))
            (func (export "fail") (param i32)
                (drop (call $malloc (i32.const 5))) (throw $error (local.get 0))))
        (core instance $libc (instantiate $libc))
        (core module $app
            (import "libc" "malloc" (func $malloc (param i32) (result i32)))
            (import "libc" "fail" (func $fail (param i32)))
            (func $risk (param i32)
                (drop (call $malloc (local.get 0))) (call $fail (local.get 0)) unreachable)
            (func (export "run") (param i32) (result i32)
                (local $round i32)
                (loop $again
                    (block $caught
                        (try_table (catch_all $caught) (call $risk (local.get 0))))
                    (drop (call $malloc (i32.const 1000)))
                    (br_if $again (i32.lt_u
                        (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 3))))
                (call $malloc (i32.const 500))))
        (core instance $app (instantiate $app (with "libc" (instance $libc))))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $app "run")))"#
    ));
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 10);
    assert_eq!(
        by_name(&guest),
        names(&[("stack of 1", 3500), ("stack of 2", 30), ("stack of 3", 15)])
    );
}
