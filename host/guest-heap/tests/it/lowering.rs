//! Arguments of guests whose `cabi_realloc` does something unusual for an empty argument.

use guest_heap::{Attribution, Context, Options, instrument};

use crate::guest::Guest;
use crate::wat_guest::{ALLOCATOR, component};

/// A component whose export `take` gets two strings. `realloc` is the body of its `cabi_realloc`.
fn two_string_component(realloc: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {ALLOCATOR}
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            (func (export "take") (param i32 i32 i32 i32) (result i32)
                (call $malloc (i32.const 9))))
        (core instance $i (instantiate $m))
        (func (export "take") (param "a" string) (param "b" string) (result u32)
            (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))"#
    ))
}

/// Live bytes and blocks of the arguments of `take`.
fn arguments(guest: &Guest) -> (u64, u64) {
    let recorder = &guest.store.data().recorder;
    let name = Context::Synthetic("arguments of take".into());
    let records = guest.reading().contexts;
    let record = records
        .iter()
        .find(|record| recorder.context(&guest.store, record.index) == name);
    record.map_or((0, 0), |record| {
        (record.live_bytes(), record.live_objects())
    })
}

#[test]
fn an_empty_argument_may_be_null() {
    // The runtimes of JavaScript and C return null for zero bytes.
    let bytes = two_string_component(
        "(if (result i32) (local.get 3) (then (call $malloc (local.get 3))) (else (i32.const 0)))",
    );
    let instrumented = instrument(&bytes, &Options::default()).unwrap();
    assert_eq!(*instrumented.attribution(), Attribution::Exact);
    let mut guest = Guest::instrumented(&bytes);
    for _ in 0..3 {
        guest.call::<_, (u32,)>("take", ("", "four")).unwrap();
        guest.call::<_, (u32,)>("take", ("", "")).unwrap();
    }
    assert_eq!(arguments(&guest), (12, 3));
    assert_eq!(guest.live(), (12 + 6 * 9, 3 + 6));
    let totals = guest.totals();
    assert_eq!((totals.allocated_objects, totals.unknown_frees), (9, 0));
}

#[test]
fn an_empty_argument_may_be_a_block_or_a_dangling_address() {
    for (realloc, blocks) in [
        ("(call $malloc (local.get 3))", 2),
        // Rust returns the alignment, which is not the address of a block.
        (
            "(if (result i32) (local.get 3) (then (call $malloc (local.get 3))) (else (local.get 2)))",
            1,
        ),
    ] {
        let mut guest = Guest::instrumented(&two_string_component(realloc));
        guest.call::<_, (u32,)>("take", ("", "four")).unwrap();
        assert_eq!(arguments(&guest), (4, blocks), "{realloc}");
        assert_eq!(guest.live(), (4 + 9, blocks + 1), "{realloc}");
    }
}
