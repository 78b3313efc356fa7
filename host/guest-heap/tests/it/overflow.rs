//! Guests with more call stacks than an instance has room for, and the cost of new call stacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use guest_heap::{Context, ContextCursor, Options};

use crate::fixtures;
use crate::guest::Guest;
use crate::wat_guest::{run, single};

/// Call stacks that an instance has room for, before it folds them.
const UNFOLDED: u64 = 14_207;

/// The call stacks that hold exactly this many bytes.
fn holders(guest: &Guest, bytes: u64) -> Vec<Arc<[u32]>> {
    let reading = guest.reading();
    let records = reading.contexts.iter();
    let holders = records.filter(|record| record.live_bytes() == bytes);
    let recorder = &guest.store.data().recorder;
    let stacks = holders.map(
        |record| match recorder.context(&guest.store, record.index) {
            Context::Stack(stack) => stack,
            other => panic!("{bytes} bytes belong to {other:?}"),
        },
    );
    stacks.collect()
}

/// What `leak-deep` holds, as a guest without other call stacks shows it.
fn leak_stack(bytes: &[u8]) -> Arc<[u32]> {
    let mut guest = Guest::instrumented(bytes);
    guest.call::<_, ()>("leak-deep", (0_u32, 999_u32)).unwrap();
    let [stack] = holders(&guest, 64 * 999).try_into().unwrap();
    stack
}

#[test]
fn a_leak_after_too_many_call_stacks_keeps_its_own() {
    let bytes = fixtures::rust("workload");
    let expected = leak_stack(&bytes);
    let mut guest = Guest::instrumented(&bytes);
    let before = guest.live();
    guest.call::<_, ()>("tree", (16_u32,)).unwrap();
    let totals = guest.totals();
    assert_eq!(totals.contexts, UNFOLDED);
    assert!(totals.overflowed > 50_000, "{totals:?}");
    assert_eq!((guest.live(), totals.unknown_frees), (before, 0));

    guest.call::<_, ()>("leak-deep", (0_u32, 999_u32)).unwrap();
    assert_eq!(holders(&guest, 64 * 999), [expected]);
    // Each function of the tree appears once in the folded call stack, so all of it is one.
    let mut cursor = ContextCursor::default();
    let recorder = &guest.store.data().recorder;
    let all = recorder.new_contexts(&guest.store, &mut cursor);
    let folded: Vec<_> = all.iter().skip(UNFOLDED as usize + 1).collect();
    assert!((2..20).contains(&folded.len()), "{folded:?}");
    for record in guest
        .reading()
        .contexts
        .iter()
        .filter(|r| r.index as u64 > UNFOLDED)
    {
        let known = folded.iter().find(|(index, _)| *index == record.index);
        assert_eq!(
            known.unwrap().1,
            recorder.context(&guest.store, record.index)
        );
    }
    // Nothing is left for the context that has no call stack at all.
    assert!(
        guest
            .reading()
            .contexts
            .iter()
            .all(|record| record.index != 0)
    );
    assert!(recorder.new_contexts(&guest.store, &mut cursor).is_empty());
}

#[test]
fn results_and_arguments_keep_their_place_when_the_table_is_full() {
    let mut guest = Guest::instrumented(&fixtures::rust("workload"));
    guest.call::<_, ()>("tree", (15_u32,)).unwrap();
    let before = guest.totals();
    for _ in 0..3 {
        guest.call::<_, ()>("keep", ("x".repeat(3001),)).unwrap();
        guest.call::<_, ()>("fetch-and-keep", (5003_u32,)).unwrap();
    }
    assert!(guest.totals().overflowed > before.overflowed);
    let recorder = &guest.store.data().recorder;
    let reading = guest.reading();
    let named = |name: &str| {
        let mut records = reading.contexts.iter();
        let record = records.find(|record| {
            recorder.context(&guest.store, record.index) == Context::Synthetic(name.into())
        });
        record.map_or(0, |record| record.live_bytes())
    };
    assert_eq!(named("arguments of keep"), 3 * 3001);
    // The host can capture the first call only after the block is counted.
    assert_eq!(named("overflow"), 5003);
    assert_eq!(holders(&guest, 2 * 5003).len(), 1);
}

#[test]
fn folded_call_stacks_agree_with_backtraces() {
    let mut options = Options::default();
    options.check_contexts = true;
    let mut guest = Guest::with_options(&fixtures::rust("workload"), &options);
    guest.call::<_, ()>("tree", (15_u32,)).unwrap();
    guest.call::<_, ()>("leak-deep", (70_u32, 10_u32)).unwrap();
    guest.call::<_, ()>("tree", (15_u32,)).unwrap();
    assert!(guest.totals().overflowed > 30_000);
    let checked = guest.store.data().recorder.checked(&guest.store);
    assert_eq!(checked.mismatches, 0, "{checked:x?}");
    assert!(checked.events > 60_000, "{checked:x?}");
}

/// A tree whose blocks stay live, and then a leak in another function: each line keeps all of its
/// bytes, though the tree has more call stacks than there is room for.
#[test]
fn lines_keep_all_of_their_bytes_when_call_stacks_are_folded() {
    let mut guest = Guest::instrumented(&single(
        r#"(func $build (param $depth i32)
            (drop (call $malloc (i32.const 8)))
            (if (local.get $depth) (then
                (call $build (i32.sub (local.get $depth) (i32.const 1)))
                (call $build (i32.sub (local.get $depth) (i32.const 1))))))
        (func $leak (drop (call $malloc (i32.const 10000))))
        (func (export "run") (param $leaks i32) (result i32)
            (call $build (i32.const 16))
            (loop $again
                (call $leak)
                (br_if $again (local.tee $leaks (i32.sub (local.get $leaks) (i32.const 1)))))
            (i32.const 0))"#,
    ));
    run(&mut guest, 1000);
    let recorder = &guest.store.data().recorder;
    let mut by_call_site: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for record in guest.reading().contexts {
        let context = recorder.context(&guest.store, record.index);
        let Context::Stack(stack) = context else {
            panic!("{record:?} belongs to {context:?}");
        };
        let sum = by_call_site.entry(stack[0]).or_default();
        sum.0 += record.live_bytes();
        sum.1 += record.live_objects();
    }
    let tree = (1 << 17) - 1;
    let sums: Vec<_> = by_call_site.into_values().collect();
    assert_eq!(sums, [(8 * tree, tree), (10_000_000, 1000)]);
}

/// Processor time of this thread in nanoseconds, so that other processes do not count. 0 where the
/// kernel does not tell.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|first| first.parse().ok());
    first.unwrap_or_default()
}

/// A tree has a call stack for each leaf. All of them consist of the same few calls, so the host
/// needs a backtrace only for some.
#[test]
fn few_new_call_stacks_need_a_backtrace() {
    let bytes = fixtures::rust("workload");
    for depth in [12_u32, 13, 16] {
        let mut original = Guest::original(&bytes);
        let mut guest = Guest::instrumented(&bytes);
        let first = guest.store.data().recorder.captures();
        let time = |guest: &mut Guest| {
            let started = processor_time();
            guest.call::<_, ()>("tree", (depth,)).unwrap();
            processor_time() - started
        };
        let (plain, new, again) = (time(&mut original), time(&mut guest), time(&mut guest));
        let captures = guest.store.data().recorder.captures() - first;
        println!(
            "{} new call stacks: {captures} backtraces, {} ns each (without the profiler {} ns, \
             when they are known {} ns), {} bytes",
            1 << depth,
            new >> depth,
            plain >> depth,
            again >> depth,
            guest.store.data().recorder.memory_bytes(),
        );
        assert!(captures <= 1 << depth >> 4, "{captures} backtraces");
    }
}
