//! Unusual allocators: inlined, unnamed, custom, nested or with blocks from before instrumentation.

use guest_heap::{Attribution, Options, instrument};

use crate::fixtures;
use crate::guest::Guest;
use crate::wat_guest::{attribution, by_name, check_same, component, names, run, single};

#[test]
fn an_allocator_with_inlined_entry_points_is_counted_at_its_implementation() {
    let bytes = component(
        r#"(core module $m
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 4096))
            (func $dlmalloc (param $size i32) (result i32) (global.get $next)
                (global.set $next (i32.add (global.get $next) (i32.const 64))))
            (func $dlfree (param i32))
            (func $calloc (param i32 i32) (result i32)
                (call $dlmalloc (i32.mul (local.get 0) (local.get 1))))
            (func $run (export "run") (param i32) (result i32)
                (call $dlfree (call $dlmalloc (i32.const 30)))
                (drop (call $dlmalloc (i32.const 7)))
                (call $calloc (i32.const 3) (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 10);
    assert_eq!(guest.live(), (37, 2));
    assert_eq!(guest.totals().unknown_frees, 0);
}

#[test]
fn a_module_without_an_allocators_names_is_not_attributed() {
    let bytes = component(
        r#"(core module $m
            (memory 1)
            (func (param i32) (result i32) (local.get 0))
            (func (export "run") (param i32) (result i32) (call 0 (local.get 0))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    // The text format keeps names that exist: here the name of the module and of no function.
    let Attribution::Off { why } = attribution(&bytes) else {
        panic!()
    };
    assert_eq!(
        why,
        "no allocator found (core module 0: function names are stripped)"
    );
    let mut guest = Guest::instrumented(&bytes);
    assert_eq!(run(&mut guest, 5), 5);
    assert_eq!(guest.reading(), Default::default());

    let named = component(
        r#"(core module $m (func $run (export "run") (param i32) (result i32) (local.get 0)))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    let Attribution::Off { why } = attribution(&named) else {
        panic!()
    };
    assert_eq!(
        why,
        "no allocator found (core module 0: none of its functions is named malloc or __rust_alloc)"
    );
}

#[test]
fn frees_of_blocks_from_before_instrumentation_are_counted_as_unknown() {
    // The program was initialised before the component was made: it allocated the block at 2048.
    let bytes = single(
        r#"(func $start (drop (call $malloc (i32.const 500))))
        (start $start)
        (func $run (export "run") (param i32) (result i32)
            (call $free (i32.const 2048))
            (call $free (call $malloc (i32.const 3)))
            (call $malloc (local.get 0)))"#,
    );
    let guest = check_same(&bytes, 10);
    let totals = guest.totals();
    assert_eq!(
        (totals.unknown_frees, totals.live_bytes, totals.live_objects),
        (1, 510, 2)
    );
    assert_eq!(
        by_name(&guest),
        names(&[("initialisation", 500), ("stack of 1", 10)])
    );
}

#[test]
fn a_global_allocator_that_calls_malloc_is_counted_at_malloc() {
    let bytes = fixtures::rust("free_lists");
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    let Attribution::Partial { why } = instrumented.attribution() else {
        panic!()
    };
    assert!(
        why.contains("core module 0 has a global allocator of its own"),
        "{why}"
    );
    assert!(
        instrumented.report.modules[0]
            .entry_points
            .contains(&"malloc")
    );
    let mut guest = Guest::instrumented(&bytes);
    let before = guest.live();
    guest.call::<_, ()>("keep", ("x".repeat(1000),)).unwrap();
    let live = guest.live();
    // The allocator rounds up to powers of two: a string, and a vector of four strings.
    assert_eq!((live.0 - before.0, live.1 - before.1), (1024 + 64, 2));
    let churned = guest.call::<_, (u64,)>("churn", (1000_u32,)).unwrap();
    assert_eq!(
        churned,
        Guest::original(&bytes)
            .call::<_, (u64,)>("churn", (1000_u32,))
            .unwrap()
    );
    // The free lists keep their blocks.
    let held = guest.live();
    guest.call::<_, (u64,)>("churn", (1000_u32,)).unwrap();
    guest.call::<_, ()>("drop-kept", ()).unwrap();
    assert_eq!(guest.live(), held);
    assert_eq!(guest.totals().unknown_frees, 0);
}

#[test]
fn the_entry_points_of_rust_alone_are_sufficient() {
    // Blocks have room for 1 KiB, so that only a larger realloc moves. The names are mangled like
    // those of rustc.
    let bytes = component(
        r#"(core module $m
            (memory 2)
            (global $next (mut i32) (i32.const 4096))
            (func $_RNvCs1_7___rustc12___rust_alloc (param i32 i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (i32.const 1024))))
            (func $_RNvCs1_7___rustc19___rust_alloc_zeroed (param i32 i32) (result i32)
                (call $_RNvCs1_7___rustc12___rust_alloc (local.get 0) (local.get 1)))
            (func $_RNvCs1_7___rustc14___rust_realloc (param i32 i32 i32 i32) (result i32)
                (if (i32.le_u (local.get 3) (i32.const 1024)) (then (return (local.get 0))))
                (call $_RNvCs1_7___rustc12___rust_alloc (local.get 3) (local.get 2)))
            (func $_RNvCs1_7___rustc14___rust_dealloc (param i32 i32 i32))
            (func $run (export "run") (param i32) (result i32)
                (local $a i32) (local $b i32)
                (local.set $a (call $_RNvCs1_7___rustc12___rust_alloc (i32.const 100) (i32.const 8)))
                (local.set $b (call $_RNvCs1_7___rustc19___rust_alloc_zeroed (i32.const 20) (i32.const 8)))
                (local.set $a (call $_RNvCs1_7___rustc14___rust_realloc
                    (local.get $a) (i32.const 100) (i32.const 8) (i32.const 200)))
                (local.set $a (call $_RNvCs1_7___rustc14___rust_realloc
                    (local.get $a) (i32.const 200) (i32.const 8) (i32.const 3000)))
                (call $_RNvCs1_7___rustc14___rust_dealloc (local.get $b) (i32.const 20) (i32.const 8))
                (i32.sub (local.get $a) (local.get $b))))
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#,
    );
    // The methods of its allocator may be inlined into other functions.
    assert!(matches!(attribution(&bytes), Attribution::Partial { .. }));
    let guest = check_same(&bytes, 1);
    let totals = guest.totals();
    assert_eq!(guest.live(), (3000, 1));
    assert_eq!(
        (totals.allocated_bytes, totals.allocated_objects),
        (3320, 4)
    );
    assert_eq!((totals.unknown_frees, totals.lost), (0, 0));
}

#[test]
fn an_entry_point_that_calls_another_counts_once() {
    let bytes = single(
        r#"(func $calloc (param i32 i32) (result i32)
            (call $helper (i32.mul (local.get 0) (local.get 1))))
        (func $helper (param i32) (result i32) (call $malloc (local.get 0)))
        (func $posix_memalign (param i32 i32 i32) (result i32)
            (i32.store (local.get 0) (call $calloc (local.get 2) (i32.const 1))) (i32.const 0))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $posix_memalign (i32.const 16) (i32.const 8) (i32.const 30)))
            (call $free (i32.load (i32.const 16)))
            (drop (call $malloc (i32.const 7)))
            (call $calloc (i32.const 3) (local.get 0)))"#,
    );
    let guest = check_same(&bytes, 10);
    let totals = guest.totals();
    assert_eq!(guest.live(), (37, 2));
    assert_eq!(
        (
            totals.allocated_bytes,
            totals.allocated_objects,
            totals.unknown_frees
        ),
        (67, 3, 0)
    );
}
