//! The memory of the profiler: limits, and how a limiter recognises it.

use guest_heap::{Attribution, InstrumentedMeta, Options, instrument};
use wasmtime::ResourceLimiter;

use crate::fixtures;
use crate::guest::{Guest, linker, store};
use crate::wat_guest::{check_same, single};

/// Refuses every growth of the profiler's memory.
struct RefusingLimiter {
    meta: std::sync::Arc<InstrumentedMeta>,
}

impl ResourceLimiter for RefusingLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        _desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // `current` is 0 when the memory is created.
        Ok(!self.meta.is_profiler_memory(maximum) || current == 0)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

#[test]
fn a_profiler_without_memory_loses_blocks_and_the_guest_runs_on() {
    let instrumented = instrument(&fixtures::rust("workload"), &Options::default()).unwrap();
    let engine = wasmtime::Engine::new(&crate::guest::config()).unwrap();
    let compiled = wasmtime::component::Component::new(&engine, &instrumented.component).unwrap();
    let mut store = store(&engine, instrumented.meta.clone());
    store.data_mut().limiter = Some(Box::new(RefusingLimiter {
        meta: instrumented.meta,
    }));
    let instance = linker(&engine)
        .unwrap()
        .instantiate(&mut store, &compiled)
        .unwrap();
    let mut guest = Guest { store, instance };
    let before = guest.live();
    for _ in 0..2 {
        guest.call::<_, ()>("fill", (100_000_u32, 40_u32)).unwrap();
        let totals = guest.totals();
        assert!(
            totals.lost > 90_000 && totals.lost_bytes >= totals.lost * 40,
            "{totals:?}"
        );
        assert!(totals.live_objects < 10_000, "{totals:?}");
        guest.call::<_, ()>("empty", ()).unwrap();
        assert_eq!(guest.live(), before);
    }
    let totals = guest.totals();
    assert_eq!(totals.lost, totals.unknown_frees);
    let coverage = guest.reading().coverage;
    assert_eq!(coverage.lost_blocks, totals.lost);
    let meta = guest.store.data().recorder.meta();
    let Attribution::Partial { why } = coverage.attribution(meta) else {
        panic!("{coverage:?}")
    };
    assert!(why.contains("blocks that are not tracked"), "{why}");
}

#[test]
fn a_memory_of_the_guest_is_never_taken_for_the_profilers() {
    let bytes = fixtures::rust("workload");
    let first = instrument(&bytes, &Options::default()).unwrap().meta;
    let maximum = (0..1 << 16)
        .find(|pages| first.is_profiler_memory(Some(pages << 16)))
        .unwrap();
    let same_maximum = single(&format!(
        r#"(memory $other 1 {maximum}) (func $run (export "run") (param i32) (result i32) (local.get 0))"#
    ));
    let meta = instrument(&same_maximum, &Options::default()).unwrap().meta;
    assert!(!meta.is_profiler_memory(Some(maximum << 16)));
    assert!(!meta.is_profiler_memory(None));
    assert!(meta.is_profiler_memory(Some((maximum + 1) << 16)));
    check_same(&same_maximum, 3);
}
