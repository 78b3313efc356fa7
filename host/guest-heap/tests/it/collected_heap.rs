//! The heap of an engine that divides its memory itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{SymbolOptions, Symbols};
use guest_heap::{Attribution, JAVASCRIPT_HEAP};

use crate::guest::Guest;
use crate::wat_guest::{attribution, run, single};

/// A line of the engine that allocates a buffer and a closure. Each closure needs a new chunk.
fn engine(name_of_chunks: &str) -> Vec<u8> {
    single(&format!(
        r#"(func $chunk (@name "{name_of_chunks}") (result i32)
            (call $malloc (i32.const 1048)))
        (func $closure (@name "js::NewClosure(JSContext*)") (result i32)
            (i32.add (call $chunk) (i32.const 8)))
        (func $buffer (@name "js::NewBuffer(JSContext*)") (param i32) (result i32)
            (call $malloc (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (drop (call $closure))
            (drop (call $closure))
            (call $buffer (local.get 0)))"#
    ))
}

fn lines(bytes: &[u8]) -> BTreeMap<String, u64> {
    let mut guest = Guest::instrumented(bytes);
    run(&mut guest, 500);
    let symbols = Arc::new(Symbols::new(bytes, SymbolOptions::default()).unwrap());
    let recorder = &guest.store.data().recorder;
    let context = |index| Some(recorder.context(&guest.store, index));
    let snapshot = Snapshot::new(&guest.reading(), context, symbols);
    let groups = snapshot.top(GroupBy::Line, 99).into_iter();
    let line =
        |group: guest_heap::snapshot::Group| (group.location.to_string(), group.usage.live_bytes);
    groups.map(line).collect()
}

#[test]
fn chunks_of_a_collected_heap_have_a_name_of_their_own() {
    let bytes = engine("js::gc::GCRuntime::getOrAllocChunk(js::gc::StallAndRetry)");
    let lines = lines(&bytes);
    assert_eq!(lines.get(JAVASCRIPT_HEAP), Some(&2096), "{lines:?}");
    assert_eq!(
        lines.get("js::NewBuffer(JSContext*)"),
        Some(&500),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn a_component_with_a_collected_heap_is_attributed_partially() {
    let bytes = engine("js::gc::GCRuntime::getOrAllocChunk(js::gc::StallAndRetry)");
    let Attribution::Partial { why } = attribution(&bytes) else {
        panic!("it is called exact");
    };
    assert!(
        why.starts_with("core module 0 has a JavaScript engine"),
        "{why}"
    );
    // All blocks are still counted, so the range of live bytes is one number.
    let mut guest = Guest::instrumented(&bytes);
    run(&mut guest, 500);
    let reading = guest.reading();
    let meta = guest.store.data().recorder.meta();
    let range = reading.coverage.live_range(meta, reading.totals.live_bytes);
    assert_eq!((range.at_least, range.at_most), (2596, Some(2596)));
}

#[test]
fn functions_with_other_names_are_lines_as_before() {
    let bytes = engine("js::gc::GCRuntime::getOrAllocChunkLater()");
    assert_eq!(attribution(&bytes), Attribution::Exact);
    let lines = lines(&bytes);
    assert!(!lines.contains_key(JAVASCRIPT_HEAP), "{lines:?}");
}
