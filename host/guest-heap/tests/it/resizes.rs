//! What a call stack has added to blocks that it resized.

use guest_heap::ContextRecord;

use crate::guest::Guest;
use crate::wat_guest::{check_same, run, single};

/// A component in which `$make` allocates a block of 100 bytes, `$common` resizes it to 300 bytes
/// and `$rare` to 1,000. `realloc` has this body.
fn component(realloc: &str) -> Vec<u8> {
    single(&format!(
        r#"(func $realloc (export "realloc") (param $old i32) (param $size i32) (result i32)
            {realloc})
        (func $make (result i32) (call $malloc (i32.const 100)))
        (func $common (param i32) (result i32) (call $realloc (local.get 0) (i32.const 300)))
        (func $rare (param i32) (result i32) (call $realloc (local.get 0) (i32.const 1000)))
        (func $shrink (param i32) (result i32) (call $realloc (local.get 0) (i32.const 40)))
        (func (export "run") (param $times i32) (result i32)
            (local $block i32)
            (local.set $block (call $common (call $make)))
            (loop $again
                (local.set $block (call $rare (local.get $block)))
                (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
            (drop (call $shrink (call $make)))
            (local.get $block))"#
    ))
}

/// The record that has ever allocated this many bytes.
fn record(guest: &Guest, allocated_bytes: u64) -> ContextRecord {
    let records = guest.reading().contexts.into_iter();
    let mut found = records.filter(|record| record.allocated_bytes == allocated_bytes);
    let record = found.next().unwrap();
    assert_eq!(found.next(), None);
    record
}

#[test]
fn a_call_stack_that_only_resizes_knows_its_own_share() {
    let moving = "(call $malloc (local.get $size))";
    let in_place = "(local.get $old)";
    for body in [moving, in_place] {
        let mut guest = Guest::instrumented(&component(body));
        run(&mut guest, 3);
        let totals = guest.totals();
        assert_eq!((totals.live_bytes, totals.live_objects), (1040, 2));

        let common = record(&guest, 300);
        assert!(common.only_resizes());
        assert_eq!((common.live_bytes(), common.own_live_bytes()), (0, 0));
        assert_eq!(common.resizes.objects, 1);
        assert_eq!(common.resizes.taken_over_bytes, 100);

        let rare = record(&guest, 3 * 1000);
        assert!(rare.only_resizes());
        assert_eq!((rare.live_bytes(), rare.own_live_bytes()), (1000, 700));
        assert_eq!(rare.resizes.objects, 3);
        assert_eq!(rare.resizes.taken_over_bytes, 300);
        assert_eq!(rare.resizes.kept_bytes, 2000);
        // The chain leads to everyone who has added to the block.
        assert_eq!(rare.resizes.from, Some(common.index));
        let make = guest.reading().contexts.into_iter();
        let mut make = make.filter(|record| Some(record.index) == common.resizes.from);
        let make = make.next().unwrap();
        assert!(!make.only_resizes());
        assert_eq!((make.allocated_bytes, make.resizes.from), (100, None));

        // All of a block that has shrunk was there before.
        let shrunk = record(&guest, 40);
        assert_eq!((shrunk.live_bytes(), shrunk.own_live_bytes()), (40, 0));
        check_same(&component(body), 5);
    }
}
