//! What is known before a guest runs about memory that bypasses its entry points, and the repair of
//! entry points that an optimiser has bypassed.

use guest_heap::Attribution;

use crate::coverage::{gap, is_exact, known_gap, lift, with_allocator};
use crate::wat_guest::{attribution, check_same};

#[test]
fn the_hook_goes_where_a_forwarding_entry_point_leads() {
    // Like an optimiser's output: the calls of `malloc` have become calls of its implementation.
    let bytes = lift(
        r#"(memory 1)
        (global $next (mut i32) (i32.const 4096))
        (func $7 (param i32) (result i32)
            (local.set 0 (i32.and (i32.add (local.get 0) (i32.const 23)) (i32.const -16)))
            (if (i32.gt_u (i32.add (global.get $next) (local.get 0)) (i32.shl (memory.size) (i32.const 16)))
                (then (drop (memory.grow (i32.const 1)))))
            (global.get $next)
            (global.set $next (i32.add (global.get $next) (local.get 0))))
        (func $8 (param i32))
        (func (export "malloc") (param i32) (result i32) (call $7 (local.get 0)))
        (func (export "free") (param i32) (call $8 (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (call $8 (call $7 (i32.const 3)))
            (call $7 (local.get 0)))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 1000);
    assert_eq!(guest.live(), (1000, 1));
    assert!(is_exact(&guest));
}

#[test]
fn an_inlined_part_of_the_allocator_is_found_by_its_data() {
    // The free list is at 2048. `run` has the fast path of `malloc` inlined.
    let allocator = r#"(memory 1)
        (func $malloc (param i32) (result i32) (local $block i32)
            (local.set $block (i32.load (i32.const 2048)))
            (i32.store (i32.const 2048) (i32.add (i32.add (local.get $block) (local.get 0)) (i32.const 16)))
            (i32.store offset=3000 (i32.const 0) (i32.const 12))
            (i32.add (local.get $block) (i32.const 8192)))
        (func $free (param i32))"#;
    let inlined = lift(&format!(
        r#"{allocator} (func $fast (export "run") (param i32) (result i32) (local $at i32)
            (local.set $at (i32.const 2040))
            (i32.store offset=8 (local.get $at)
                (i32.add (i32.load offset=8 (local.get $at)) (local.get 0)))
            (call $malloc (local.get 0)))"#
    ));
    assert_eq!(
        known_gap(&inlined),
        "core module 0 writes the data of its allocator outside of the entry points, in fast"
    );
    check_same(&inlined, 10);
    // A word that the allocator only stores, such as `errno`, is not its state. Nothing is inlined
    // where its state is only read.
    let clean = lift(&format!(
        r#"{allocator} (func $run (export "run") (param i32) (result i32)
            (i32.store (i32.const 3000) (i32.load (i32.const 2048)))
            (i32.add (i32.load (i32.const 3000)) (call $malloc (local.get 0))))"#
    ));
    assert_eq!(attribution(&clean), Attribution::Exact);
}

#[test]
fn asking_for_the_end_of_the_heap_is_no_growth() {
    let bytes = with_allocator(
        r#"(func $run (export "run") (param i32) (result i32)
            (drop (call $malloc (local.get 0)))
            (call $sbrk (i32.const 0)))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 100_000);
    assert!(is_exact(&guest));

    // What looks like a question, and grows, shows at run time.
    let bytes = with_allocator(
        r#"(func $chunk (param i32) (result i32) (memory.grow (i32.const 1)))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $malloc (local.get 0)))
            (call $chunk (i32.const 0)))"#,
    );
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let guest = check_same(&bytes, 10);
    assert!(gap(&guest).starts_with("65,536 of 126,976 bytes"));
}

#[test]
fn an_inlined_free_is_found_where_malloc_takes_the_address_of_its_list() {
    // `malloc` stores the head of the list, at 2048, only through its address.
    let guest = |run: &str| {
        lift(&format!(
            r#"(memory 1)
            (func $malloc (param i32) (result i32) (local $at i32)
                (local.set $at (i32.const 2048))
                (if (i32.load (i32.const 2048))
                    (then
                        (local.set $at (i32.load offset=4 (local.get $at)))
                        (i32.store (local.get $at) (i32.const 0))))
                (i32.const 8192))
            (func $run (export "run") (param i32) (result i32)
                {run}
                (call $malloc (local.get 0)))"#
        ))
    };
    let inlined = guest(
        "(i32.store (i32.const 9000) (i32.load (i32.const 2048)))
        (i32.store (i32.const 2048) (i32.const 9000))",
    );
    assert_eq!(
        known_gap(&inlined),
        "core module 0 writes the data of its allocator outside of the entry points, in run"
    );
    // A setting that the allocator reads.
    let setting = guest("(i32.store (i32.const 2048) (i32.const 1))");
    assert_eq!(attribution(&setting), Attribution::Exact);
}
