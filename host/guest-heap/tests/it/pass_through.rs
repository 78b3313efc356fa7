//! Functions that only pass a call through do not change the context, and stay in call stacks.

use std::collections::BTreeSet;

use guest_heap::Context;

use crate::guest::Guest;
use crate::wat_guest::{check_same, single};

/// The call stacks of a guest, by their call sites.
fn stacks(guest: &Guest) -> BTreeSet<Vec<u32>> {
    let recorder = &guest.store.data().recorder;
    let records = guest.reading().contexts.into_iter();
    let contexts = records.map(|record| recorder.context(&guest.store, record.index));
    contexts
        .filter_map(|context| match context {
            Context::Stack(sites) => Some(sites.to_vec()),
            _ => None,
        })
        .collect()
}

fn lengths(guest: &Guest) -> Vec<usize> {
    stacks(guest).iter().map(Vec::len).collect()
}

const CHAIN: &str = r"
    (func $outer (param i32) (result i32) (call $middle (local.get 0)))
    (func $middle (param i32) (result i32) (call $inner (local.get 0)))
    (func $inner (param i32) (result i32) (call $malloc (local.get 0)))";

#[test]
fn a_chain_has_one_context_for_each_call_of_it() {
    let bytes = single(&format!(
        r#"{CHAIN}
        (func $run (export "run") (param i32) (result i32)
            (drop (call $outer (local.get 0)))
            (drop (call $middle (local.get 0)))
            (drop (call $inner (local.get 0)))
            (call $outer (local.get 0)))"#
    ));
    let guest = check_same(&bytes, 10);
    assert_eq!(guest.live(), (40, 4));
    // `run`, then three functions, twice; then two, then one.
    let mut lengths = lengths(&guest);
    lengths.sort_unstable();
    assert_eq!(lengths, [2, 3, 4, 4]);
}

#[test]
fn functions_of_a_table_have_contexts_of_their_own() {
    // One call through a table calls two functions, which both call the same chain.
    let bytes = single(&format!(
        r#"{CHAIN}
        (type $one (func (param i32) (result i32)))
        (table 2 2 funcref)
        (elem (i32.const 0) $first $second)
        (func $first (param i32) (result i32) (call $outer (local.get 0)))
        (func $second (param i32) (result i32) (call $outer (local.get 0)))
        (func $run (export "run") (param i32) (result i32)
            (local $n i32)
            (loop $again
                (drop (call_indirect (type $one) (local.get 0) (local.get $n)))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (i32.const 2))))
            (i32.const 7))"#
    ));
    let guest = check_same(&bytes, 10);
    assert_eq!(guest.live(), (20, 2));
    assert_eq!(lengths(&guest), [5, 5]);
}

#[test]
fn recursion_through_a_chain_has_a_context_for_each_depth() {
    // `down` allocates and calls itself through `step`, which only passes the call through.
    let bytes = single(
        r#"(func $step (param i32) (result i32) (call $down (i32.sub (local.get 0) (i32.const 1))))
        (func $down (param i32) (result i32)
            (drop (call $malloc (i32.const 8)))
            (if (result i32) (local.get 0)
                (then (call $step (local.get 0)))
                (else (i32.const 0))))
        (func $run (export "run") (param i32) (result i32) (call $down (local.get 0)))"#,
    );
    let guest = check_same(&bytes, 5);
    assert_eq!(guest.live(), (48, 6));
    let mut lengths = lengths(&guest);
    lengths.sort_unstable();
    assert_eq!(lengths, [2, 4, 6, 8, 10, 12]);
}

#[test]
fn a_loop_in_a_chain_keeps_one_context() {
    let bytes = single(
        r#"(func $many (param i32) (result i32)
            (loop $again (result i32)
                (drop (call $malloc (i32.const 8)))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if $again (local.get 0))
                (i32.const 0)))
        (func $run (export "run") (param i32) (result i32) (call $many (local.get 0)))"#,
    );
    let guest = check_same(&bytes, 100);
    assert_eq!(guest.live(), (800, 100));
    assert_eq!(lengths(&guest), [2]);
}

#[test]
fn tail_calls_in_a_chain_leave_its_other_functions_in_the_stack() {
    let bytes = single(
        r#"(func $outer (param i32) (result i32) (return_call $inner (local.get 0)))
        (func $inner (param i32) (result i32) (call $malloc (local.get 0)))
        (func $run (export "run") (param i32) (result i32)
            (drop (call $outer (local.get 0)))
            (call $outer (local.get 0)))"#,
    );
    let guest = check_same(&bytes, 10);
    assert_eq!(guest.live(), (20, 2));
    assert_eq!(lengths(&guest), [2, 2]);
}
