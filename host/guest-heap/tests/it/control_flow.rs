//! Tail calls, calls of imports through tables, and exceptions keep the contexts right.

use guest_heap::Attribution;

use crate::wat_guest::{
    ALLOCATOR, attribution, by_name, check_same, component, names, run, single, with_stacks,
};

#[test]
fn tail_calls_keep_the_stack_flat_and_have_contexts_of_their_own() {
    // The function calls itself a million times by tail calls and allocates in ten of these calls.
    let bytes = single(
        r#"(func $loop (param $n i32) (param $sum i32) (result i32)
            (if (i32.eqz (local.get $n)) (then (return (local.get $sum))))
            (if (i32.eqz (i32.rem_u (local.get $n) (i32.const 100000)))
                (then (drop (call $malloc (i32.const 10)))))
            (return_call $loop (i32.sub (local.get $n) (i32.const 1)) (i32.add (local.get $sum) (i32.const 3))))
        (func $run (export "run") (param i32) (result i32)
            (return_call $loop (local.get 0) (i32.const 0)))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 1_000_000);
    assert_eq!(guest.live(), (100, 10));
}

#[test]
fn the_results_of_an_import_belong_to_its_tail_call() {
    // The code behind a tail call is never reached, so it must not matter.
    for dead in ["", "(unreachable)"] {
        check_tail_call_of_an_import(dead);
    }
}

/// A core module and its instance, which put the lowered import into the table of a core instance.
fn lowered_into_table_of(instance: &str) -> String {
    format!(
        r#"(core module $fix
            (import "" "table" (table 1 1 funcref))
            (import "" "fetch" (func $fetch (param i32 i32)))
            (elem (i32.const 0) func $fetch))
        (core instance (instantiate $fix (with "" (instance
            (export "table" (table ${instance} "table"))
            (export "fetch" (func $lowered))))))"#
    )
}

fn check_tail_call_of_an_import(dead: &str) {
    let lowered_into_table = lowered_into_table_of("shim");
    let bytes = component(&format!(
        r#"(import "fetch" (func $fetch (param "length" u32) (result string)))
        (core module $libc {ALLOCATOR})
        (core instance $libc (instantiate $libc))
        (core module $m
            (import "libc" "memory" (memory 0))
            (import "host" "fetch" (func $fetch (param i32 i32)))
            (global $next (mut i32) (i32.const 70000))
            (func $malloc (param $size i32) (result i32) (global.get $next)
                (global.set $next (i32.add (global.get $next) (i32.const 64))))
            (func $free (param i32))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $malloc (local.get 3)))
            (func $tail (param i32) (return_call $fetch (local.get 0) (i32.const 16)) {dead})
            (func (export "run") (param i32) (result i32) (call $tail (local.get 0)) (i32.load (i32.const 20))))
        (core module $shim
            (table (export "table") 1 1 funcref)
            (type $t (func (param i32 i32)))
            (func (export "fetch") (param i32 i32)
                (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0))))
        (core instance $shim (instantiate $shim))
        (core instance $i (instantiate $m
            (with "libc" (instance $libc))
            (with "host" (instance (export "fetch" (func $shim "fetch"))))))
        (core func $lowered (canon lower (func $fetch) (memory (core memory $libc "memory")) (realloc (core func $i "realloc"))))
        {lowered_into_table}
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ));
    let mut guest = check_same(&bytes, 33);
    run(&mut guest, 7);
    // The stack may contain the frame of the function with the tail call: that depends on the
    // engine.
    assert_eq!(with_stacks(&guest), 40, "{:?}", by_name(&guest));
}

#[test]
fn the_results_of_an_import_called_through_a_table_have_a_name() {
    // The module has no import: another module puts it into the table.
    let lowered_into_table = lowered_into_table_of("i");
    let bytes = component(&format!(
        r#"(import "fetch" (func $fetch (param "length" u32) (result string)))
        (core module $m {ALLOCATOR}
            (table (export "table") 1 1 funcref)
            (type $t (func (param i32 i32)))
            (func (export "run") (param i32) (result i32)
                (drop (call $malloc (i32.const 5)))
                (call_indirect (type $t) (local.get 0) (i32.const 16) (i32.const 0))
                (drop (call $malloc (i32.const 6)))
                (i32.load (i32.const 20))))
        (core instance $i (instantiate $m))
        (core func $lowered (canon lower (func $fetch)
            (memory (core memory $i "memory")) (realloc (core func $i "cabi_realloc"))))
        {lowered_into_table}
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ));
    let mut guest = check_same(&bytes, 33);
    run(&mut guest, 7);
    let names = by_name(&guest);
    assert_eq!(with_stacks(&guest), 2 * 11, "{names:?}");
    assert_eq!(names.values().sum::<u64>(), 2 * 11 + 40, "{names:?}");
    assert!(!names.contains_key("unknown"), "{names:?}");
}

#[test]
fn exceptions_keep_the_contexts_right() {
    // A compiler emits `unreachable` after a throw, as after a panic. The guest survives the throw.
    let bytes = single(
        r#"(tag $e (param i32))
        (func $throw (param i32) (throw $e (call $malloc (local.get 0))))
        (func $deeper (param i32) (call $throw (local.get 0)) (unreachable))
        (func $once (param $n i32) (result i32)
            (block $caught (result i32)
                (try_table (catch $e $caught)
                    (call $deeper (local.get $n)) (unreachable))
                (unreachable))
            (drop (call $malloc (i32.const 1))))
        (func $run (export "run") (param $n i32) (result i32)
            (local $last i32)
            (loop $again
                (local.set $last (call $once (i32.const 5)))
                (drop (call $malloc (i32.const 2)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $again (local.get $n)))
            (local.get $last))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 100);
    assert_eq!(guest.live(), (800, 300));
    assert_eq!(
        by_name(&guest),
        names(&[
            ("stack of 1", 200),
            ("stack of 2", 100),
            ("stack of 4", 500)
        ])
    );
}
