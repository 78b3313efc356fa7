//! Traps have the same backtrace as in the original, and the counts are readable after them.

use guest_heap::{Context, InstrumentedMeta};
use wasmtime::WasmBacktrace;

use crate::fixtures;
use crate::guest::Guest;

/// The frames of a trap of this kind, as offsets in the original component.
fn backtrace(guest: &mut Guest, kind: u32, meta: Option<&InstrumentedMeta>) -> Vec<Option<u32>> {
    let error = guest.call::<_, ()>("trap", (kind,)).unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
    let frames = backtrace
        .frames()
        .iter()
        .map(|frame| frame.module_offset().map(|at| at as u32));
    match meta {
        None => frames.collect(),
        // The profiler's own frames have no original.
        Some(meta) => frames
            .filter_map(|at| at.map_or(Some(None), |at| meta.offsets().original(at).map(Some)))
            .collect(),
    }
}

#[test]
fn four_kinds_of_traps_keep_the_backtrace_and_the_counts() {
    let bytes = fixtures::rust("workload");
    for kind in 0..4 {
        let mut original = Guest::original(&bytes);
        let expected = backtrace(&mut original, kind, None);
        assert!(expected.len() > 2, "{expected:?}");

        let mut guest = Guest::instrumented(&bytes);
        let meta = guest.store.data().recorder.meta().clone();
        assert_eq!(
            backtrace(&mut guest, kind, Some(&meta)),
            expected,
            "kind {kind}"
        );

        guest
            .call::<_, ()>("drop-kept", ())
            .expect_err("a trapped guest cannot be called");
        let reading = guest.reading();
        let leaked = reading
            .contexts
            .iter()
            .find(|record| record.live_bytes() == 7777);
        let context = guest.store.data().recorder.context(
            &guest.store,
            leaked
                .expect("the block that the guest leaked before the trap")
                .index,
        );
        assert!(matches!(context, Context::Stack(frames) if frames.len() > 1));
    }
}
