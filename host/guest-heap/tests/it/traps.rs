//! A trap looks the same, and the books can be read after it.

use guest_heap::{Context, InstrumentedMeta};
use wasmtime::WasmBacktrace;

use crate::fixtures;
use crate::guest::Guest;

/// Frames of the trap that `die` ends in, as offsets in the original component.
fn backtrace(guest: &mut Guest, how: u32, meta: Option<&InstrumentedMeta>) -> Vec<Option<u32>> {
    let error = guest.call::<_, ()>("die", (how,)).unwrap_err();
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
fn four_kinds_of_trap_have_the_same_backtrace_and_leave_the_books_readable() {
    let bytes = fixtures::rust("workout");
    for how in 0..4 {
        let mut original = Guest::original(&bytes);
        let expected = backtrace(&mut original, how, None);
        assert!(expected.len() > 2, "{expected:?}");

        let mut guest = Guest::instrumented(&bytes);
        let meta = guest.store.data().recorder.meta().clone();
        assert_eq!(
            backtrace(&mut guest, how, Some(&meta)),
            expected,
            "how {how}"
        );

        guest
            .call::<_, ()>("drop-kept", ())
            .expect_err("a dead guest cannot be called");
        let reading = guest.reading();
        let leaked = reading
            .contexts
            .iter()
            .find(|record| record.live_bytes() == 7777);
        let context = guest
            .store
            .data()
            .recorder
            .context(&guest.store, leaked.expect("what it died with").index);
        assert!(matches!(context, Context::Stack(frames) if frames.len() > 1));
    }
}
