//! Allocators that toolchains name in their own way, and declared ones.

use guest_heap::{
    Attribution, EntryKind, InstrumentError, Options, embed_declarations, instrument,
};

use crate::guest::Guest;
use crate::wat_guest::{attribution, check_same, component, run};

/// A bump allocator for modules whose entry points have other names. Blocks have room for 4 KiB.
const BUMP: &str = r#"
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 8192))
    (func $bump (result i32) (global.get $next)
        (global.set $next (i32.add (global.get $next) (i32.const 4096))))
"#;

/// A component whose core module has these functions.
fn guest(functions: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {BUMP} {functions})
        (core instance $i (instantiate $m))
        (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run")))"#
    ))
}

/// Instruments the guest, runs it, and compares live bytes and blocks.
#[track_caller]
fn check(functions: &str, attribution_is_exact: bool, live: (u64, u64)) {
    let bytes = guest(functions);
    let attribution = attribution(&bytes);
    assert_eq!(
        attribution == Attribution::Exact,
        attribution_is_exact,
        "{attribution:?}"
    );
    let guest = check_same(&bytes, 10);
    assert_eq!(guest.live(), live);
    assert_eq!(guest.totals().unknown_frees, 0);
}

#[test]
fn the_c_library_of_zig_is_counted_at_its_names() {
    check(
        r#"(func $malloc (param i32) (result i32) (call $bump))
        (func $c.malloc.calloc (param i32 i32) (result i32) (call $bump))
        (func $c.malloc.free (param i32))
        (func $c.malloc.realloc (param i32 i32) (result i32) (call $bump))
        (func $run (export "run") (param i32) (result i32)
            (call $c.malloc.free (call $malloc (i32.const 500)))
            (drop (call $c.malloc.realloc (call $malloc (i32.const 7)) (i32.const 20)))
            (call $c.malloc.calloc (i32.const 3) (local.get 0)))"#,
        true,
        (50, 2),
    );
}

#[test]
fn copies_of_an_entry_point_are_all_counted() {
    check(
        r#"(func $malloc (param i32) (result i32) (call $bump))
        (func $malloc.1 (param i32) (result i32) (call $bump))
        (func $free (param i32))
        (func $free.llvm.123 (param i32))
        (func $run (export "run") (param i32) (result i32)
            (call $free.llvm.123 (call $malloc (i32.const 500)))
            (call $free (call $malloc.1 (i32.const 600)))
            (call $malloc.1 (local.get 0)))"#,
        true,
        (10, 1),
    );
}

#[test]
fn the_methods_of_a_global_allocator_are_counted_with_all_parameters() {
    // alloc(self, align, size), dealloc(self, pointer, align, size) and
    // realloc(self, pointer, align, size, new size).
    check(
        r#"(func $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$5alloc17h0123456789abcdefE
            (param i32 i32 i32) (result i32) (call $bump))
        (func $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$7dealloc17h0123456789abcdefE
            (param i32 i32 i32 i32))
        (func $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$7realloc17h0123456789abcdefE
            (param i32 i32 i32 i32 i32) (result i32) (local.get 1))
        (func $run (export "run") (param i32) (result i32)
            (local $block i32)
            (call $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$7dealloc17h0123456789abcdefE
                (i32.const 1024)
                (call $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$5alloc17h0123456789abcdefE
                    (i32.const 1024) (i32.const 8) (i32.const 100))
                (i32.const 8) (i32.const 100))
            (local.set $block
                (call $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$5alloc17h0123456789abcdefE
                    (i32.const 1024) (i32.const 8) (local.get 0)))
            (call $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$7realloc17h0123456789abcdefE
                (i32.const 1024) (local.get $block) (i32.const 8) (i32.const 10) (i32.const 33)))"#,
        true,
        (33, 1),
    );
}

#[test]
fn a_pointer_is_found_after_the_optimiser_has_removed_parameters() {
    // dealloc(pointer, align, size) and dealloc(self, pointer, size) have the same signature.
    for arguments in [
        "(local.get $b) (i32.const 8) (i32.const 10)",
        "(i32.const 1024) (local.get $b) (i32.const 10)",
    ] {
        check(
            &format!(
                r#"(func $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$5alloc17h0123456789abcdefE
                    (param i32 i32) (result i32) (call $bump))
                (func $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$7dealloc17h0123456789abcdefE
                    (param i32 i32 i32))
                (func $run (export "run") (param i32) (result i32)
                    (local $b i32)
                    (local.set $b
                        (call $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$5alloc17h0123456789abcdefE
                            (i32.const 8) (local.get 0)))
                    (call $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$7dealloc17h0123456789abcdefE
                        {arguments})
                    (call $_ZN39_$LT$a..A$u20$as$u20$b..GlobalAlloc$GT$5alloc17h0123456789abcdefE
                        (i32.const 8) (i32.const 70)))"#
            ),
            true,
            (70, 1),
        );
    }
}

#[test]
fn a_global_allocator_without_a_function_that_frees_is_partial() {
    check(
        r#"(func $_RNvCs1_7___rustc12___rust_alloc (param i32 i32) (result i32) (call $bump))
        (func $run (export "run") (param i32) (result i32)
            (call $_RNvCs1_7___rustc12___rust_alloc (local.get 0) (i32.const 8)))"#,
        false,
        (10, 1),
    );
}

#[test]
fn a_part_of_an_allocator_that_others_call_makes_the_attribution_partial() {
    let allocator = r#"
        (func $_ZN4talc4talc13Talc$LT$O$GT$6malloc17h0123456789abcdefE
            (param i32 i32 i32) (result i32) (call $_ZN4talc4talc13Talc$LT$O$GT$6insert17h0123456789abcdefE))
        (func $_ZN4talc4talc13Talc$LT$O$GT$4free17h0123456789abcdefE (param i32 i32 i32 i32))
        (func $_ZN4talc4talc13Talc$LT$O$GT$6insert17h0123456789abcdefE (result i32) (call $bump))
    "#;
    let run = |extra: &str| {
        format!(
            r#"{allocator}
            (func $run (export "run") (param i32) (result i32)
                {extra}
                (call $_ZN4talc4talc13Talc$LT$O$GT$6malloc17h0123456789abcdefE
                    (i32.const 1024) (i32.const 8) (local.get 0)))"#
        )
    };
    check(&run(""), true, (10, 1));
    let inlined = "(drop (call $_ZN4talc4talc13Talc$LT$O$GT$6insert17h0123456789abcdefE))";
    check(&run(inlined), false, (10, 1));
}

#[test]
fn the_runtime_of_assemblyscript_is_counted_and_not_the_programs_malloc() {
    // A block begins four bytes before the pointer that __alloc returns.
    check(
        r#"(func $~lib/rt/tlsf/allocateBlock (param i32 i32) (result i32) (call $bump))
        (func $~lib/rt/tlsf/__alloc (param i32) (result i32)
            (i32.add (call $~lib/rt/tlsf/allocateBlock (i32.const 1) (local.get 0)) (i32.const 4)))
        (func $~lib/rt/tlsf/freeBlock (param i32 i32))
        (func $~lib/rt/tlsf/__free (param i32)
            (call $~lib/rt/tlsf/freeBlock (i32.const 1) (i32.sub (local.get 0) (i32.const 4))))
        (func $program/malloc (export "malloc") (param i32) (result i32) (i32.const 99))
        (func $program/free (export "free") (param i32))
        (func $run (export "run") (param i32) (result i32)
            (call $program/free (call $program/malloc (i32.const 1000)))
            (call $~lib/rt/tlsf/__free
                (i32.add (call $~lib/rt/tlsf/allocateBlock (i32.const 1) (i32.const 300)) (i32.const 4)))
            (call $~lib/rt/tlsf/freeBlock (i32.const 1)
                (i32.sub (call $~lib/rt/tlsf/__alloc (i32.const 400)) (i32.const 4)))
            (call $~lib/rt/tlsf/__alloc (local.get 0)))"#,
        true,
        (10, 1),
    );
}

#[test]
fn zigs_allocators_are_counted_at_their_tables_functions() {
    check(
        r#"(func $heap.WasmAllocator.alloc (param i32 i32 i32 i32) (result i32) (call $bump))
        (func $heap.WasmAllocator.resize (param i32 i32 i32 i32 i32 i32) (result i32)
            (i32.lt_u (local.get 4) (i32.const 4096)))
        (func $heap.WasmAllocator.remap (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
        (func $heap.WasmAllocator.free (param i32 i32 i32 i32 i32))
        (func $heap.ArenaAllocator.alloc (param i32 i32 i32 i32) (result i32) (i32.const 64))
        (func $alloc (param i32) (result i32)
            (call $heap.WasmAllocator.alloc (i32.const 0) (local.get 0) (i32.const 3) (i32.const 0)))
        (func $resize (param $block i32) (param $size i32) (result i32)
            (call $heap.WasmAllocator.resize (i32.const 0) (local.get $block) (i32.const 8)
                (i32.const 3) (local.get $size) (i32.const 0)))
        (func $run (export "run") (param i32) (result i32) (local $block i32)
            (drop (call $heap.ArenaAllocator.alloc
                (i32.const 0) (i32.const 999) (i32.const 3) (i32.const 0)))
            (call $heap.WasmAllocator.free (i32.const 0) (call $alloc (i32.const 70)) (i32.const 70)
                (i32.const 3) (i32.const 0))
            (local.set $block (call $alloc (local.get 0)))
            (drop (call $resize (local.get $block) (i32.const 5000)))
            (drop (call $heap.WasmAllocator.remap (i32.const 0) (local.get $block) (i32.const 8)
                (i32.const 3) (i32.const 6000) (i32.const 0)))
            (call $resize (local.get $block) (i32.const 44)))"#,
        true,
        (44, 1),
    );
}

/// A pool allocator that no name gives away.
const POOL: &str = r#"
    (func $pool_get (param $pool i32) (param $size i32) (result i32) (call $bump))
    (func $pool_array (param $count i32) (param $size i32) (result i32) (call $bump))
    (func $pool_change (param $block i32) (param $size i32) (result i32)
        (select (i32.const 0) (local.get 0) (i32.eqz (local.get 1))))
    (func $pool_put (param $pool i32) (param $block i32))
    (func $run (export "run") (param i32) (result i32) (local $block i32)
        (call $pool_put (i32.const 1) (call $pool_get (i32.const 1) (i32.const 300)))
        (local.set $block (call $pool_get (i32.const 1) (local.get 0)))
        (drop (call $pool_change (call $pool_array (i32.const 3) (i32.const 8)) (i32.const 0)))
        (drop (call $pool_change (local.get $block) (i32.const 50)))
        (call $pool_array (i32.const 4) (i32.const 5)))
"#;

fn declared() -> Options {
    Options::default()
        .entry_point("pool_get", EntryKind::Allocate { size: 1 })
        .entry_point("pool_array", EntryKind::AllocateArray { count: 0, size: 1 })
        .entry_point(
            "pool_change",
            EntryKind::Reallocate {
                pointer: 0,
                size: 1,
            },
        )
        .entry_point("pool_put", EntryKind::Free { pointer: 1 })
}

#[test]
fn declared_entry_points_are_counted() {
    let bytes = guest(POOL);
    assert!(matches!(attribution(&bytes), Attribution::Off { .. }));
    let toml = r#"
        [[entry-point]]
        function = "pool_get"
        kind = "allocate"
        size = 1
        [[entry-point]]
        function = "pool_array"
        kind = "allocate-array"
        count = 0
        size = 1
        [[entry-point]]
        function = "pool_change"
        kind = "reallocate"
        pointer = 0
        size = 1
        [[entry-point]]
        function = "pool_put"
        kind = "free"
        pointer = 1
    "#;
    let embedded = embed_declarations(&bytes, toml);
    let plain = Options::default();
    for (bytes, options) in [
        (&bytes, declared()),
        (&bytes, Options::default().declarations(toml).unwrap()),
        (&embedded, plain),
    ] {
        let instrumented = instrument(bytes, &options).unwrap();
        assert_eq!(*instrumented.attribution(), Attribution::Exact);
        let mut guest = Guest::with_options(bytes, &options);
        let mut original = Guest::original(bytes);
        assert_eq!(run(&mut guest, 10), run(&mut original, 10));
        assert_eq!(guest.live(), (70, 2));
        assert_eq!(guest.totals().unknown_frees, 0);
    }
}

#[test]
fn a_declared_function_must_exist_and_have_the_parameters() {
    let bytes = guest(POOL);
    let options = Options::default().entry_point("pool_gets", EntryKind::Allocate { size: 0 });
    let error = instrument(&bytes, &options).unwrap_err();
    assert!(matches!(error, InstrumentError::UnknownEntryPoint(_)));
    assert_eq!(
        error.to_string(),
        "no function is named \"pool_gets\", which is declared as an entry point of an allocator"
    );
    for kind in [
        EntryKind::Allocate { size: 2 },
        EntryKind::Reallocate {
            pointer: 5,
            size: 0,
        },
    ] {
        let options = Options::default().entry_point("pool_get", kind);
        let error = instrument(&bytes, &options).unwrap_err().to_string();
        assert!(
            error.contains("\"pool_get\" has the signature (i32, i32) -> (i32)"),
            "{error}"
        );
    }
}

#[test]
fn a_file_of_declarations_is_checked() {
    let cases = [
        ("", "it has neither [[entry-point]]"),
        ("entry-point = []", "it has neither [[entry-point]]"),
        ("interpreted-frames = 65", "a number from 0 to 64"),
        ("interpreted-frames = -1", "a number from 0 to 64"),
        ("interpreted-frames = \"8\"", "a number from 0 to 64"),
        ("other = 1", "other is not a key of this file"),
        (
            "[[entry-point]]\nkind = \"free\"",
            "an entry point has no function",
        ),
        (
            "[[entry-point]]\nfunction = \"f\"\nkind = \"frees\"",
            "kind must be allocate, allocate-array, reallocate or free",
        ),
        (
            "[[entry-point]]\nfunction = \"f\"\nkind = \"free\"",
            "pointer must be a position from 0 to 15",
        ),
        (
            "[[entry-point]]\nfunction = \"f\"\nkind = \"free\"\npointer = 16",
            "pointer must be a position from 0 to 15",
        ),
        (
            "[[entry-point]]\nfunction = \"f\"\nkind = \"free\"\npointer = 1\nsize = 2",
            "size is not a key of this kind",
        ),
        (
            "[[entry-point]]\nfunction = \"f\"\nkind = \"reallocate\"\npointer = 1\nsize = 1",
            "two positions are the same",
        ),
        ("[[entry-point]\n", "TOML parse error at line 1"),
    ];
    for (toml, expected) in cases {
        let error = Options::default()
            .declarations(toml)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{toml}: {error}");
    }
    let embedded = embed_declarations(&guest(POOL), "other = 1");
    let error = instrument(&embedded, &Options::default()).unwrap_err();
    assert!(matches!(error, InstrumentError::Declarations(_)), "{error}");
    let twice = "[[entry-point]]\nfunction = \"f\"\nkind = \"free\"\npointer = 0\n".repeat(2);
    let error = Options::default().declarations(&twice).unwrap_err();
    assert_eq!(error.to_string(), "it declares the function \"f\" twice");
}
