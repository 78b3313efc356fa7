//! A context is exactly one call stack, or has a name.

use std::collections::HashMap;

use guest_heap::{Context, ContextCursor, Options};

use crate::fixtures;
use crate::guest::{Benchmark, Guest};

#[test]
fn no_context_ever_stands_for_two_stacks() {
    let mut options = Options::default();
    options.check_contexts = true;
    let mut guest = Guest::with_options(&fixtures::rust("workload"), &options);
    for (benchmark, count, depth) in [
        (Benchmark::Json, 8_000_u32, 0_u32),
        (Benchmark::Pair, 5_000, 0),
        (Benchmark::Pair, 5_000, 5),
        (Benchmark::Pair, 5_000, 30),
        (Benchmark::Mix, 400_000, 0),
        (Benchmark::Dispatch, 500_000, 0),
    ] {
        guest
            .call::<_, (u64,)>("run", (benchmark, count, depth))
            .unwrap();
    }
    for seed in 1..8_u64 {
        guest
            .call::<_, ((u64, u64),)>("exercise", (seed, 100_000_u32, true))
            .unwrap();
    }
    for i in 0..50_usize {
        guest
            .call::<_, (u32,)>("take", ("x".repeat(i + 1),))
            .unwrap();
        guest.call::<_, ()>("keep", ("y".repeat(100),)).unwrap();
        guest.call::<_, (String,)>("give", (77_u32,)).unwrap();
        guest
            .call::<_, (Vec<String>,)>("give-list", (7_u32, 7_u32))
            .unwrap();
        guest.call::<_, ()>("fetch-and-keep", (33_u32,)).unwrap();
        guest
            .call::<_, ()>("fetch-and-keep-list", (3_u32, 33_u32))
            .unwrap();
    }
    for _ in 0..2 {
        guest.call::<_, ()>("tree", (10_u32,)).unwrap();
    }
    for depth in [40, 300, 301_u32] {
        guest.call::<_, ()>("leak-deep", (depth, 10_u32)).unwrap();
    }
    let checked = guest.store.data().recorder.checked(&guest.store);
    assert!(checked.events >= 1_000_000, "{} events", checked.events);
    assert_eq!(checked.mismatches, 0, "{checked:x?}");
    // Arguments, results of imports and post-returns have no call stack at the time.
    assert!(
        (100..checked.events / 100).contains(&checked.uncompared),
        "{checked:x?}"
    );
    println!("{} events", checked.events);
}

/// Live bytes and blocks by the name of the context. All call stacks have the name "stack".
fn by_name(guest: &Guest) -> HashMap<String, (u64, u64)> {
    let mut names: HashMap<String, (u64, u64)> = HashMap::new();
    for record in guest.reading().contexts {
        let name = match guest
            .store
            .data()
            .recorder
            .context(&guest.store, record.index)
        {
            Context::Stack(_) => "stack".to_owned(),
            Context::Interpreted(_) => "lines".to_owned(),
            Context::Synthetic(name) => name.to_string(),
        };
        let sum = names.entry(name).or_default();
        sum.0 += record.live_bytes();
        sum.1 += record.live_objects();
    }
    names
}

#[test]
fn arguments_are_named_after_their_export() {
    let mut guest = Guest::instrumented(&fixtures::rust("workload"));
    for _ in 0..3 {
        guest.call::<_, ()>("keep", ("x".repeat(100),)).unwrap();
        guest
            .call::<_, (u32,)>("take", ("x".repeat(1000),))
            .unwrap();
    }
    let names = by_name(&guest);
    assert_eq!(names["arguments of keep"], (300, 3));
    assert_eq!(names["arguments of take"], (0, 0));

    guest
        .call::<_, ()>("keep-list", (vec!["x".repeat(10); 5],))
        .unwrap();
    // The block of the list itself is freed when the guest has read it.
    assert_eq!(by_name(&guest)["arguments of keep-list"], (50, 5));
    assert_eq!(by_name(&guest).get("arguments"), None);

    // The runtime keeps only some argument blocks until it knows the export. The others have a
    // coarser name.
    let many = 20_000_u64;
    guest
        .call::<_, ()>("keep-list", (vec!["x".repeat(10); many as usize],))
        .unwrap();
    let names = by_name(&guest);
    let (named, coarse) = (names["arguments of keep-list"], names["arguments"]);
    assert_eq!(named.1 + coarse.1, 5 + many);
    assert_eq!(named.0 + coarse.0, 50 + many * 10);
    assert!(coarse.1 > 0 && named.1 > 16_000, "{named:?} {coarse:?}");

    guest.call::<_, ()>("drop-kept", ()).unwrap();
    let names = by_name(&guest);
    assert_eq!(
        (names["arguments of keep-list"], names["arguments"]),
        ((0, 0), (0, 0))
    );
}

#[test]
fn results_of_an_import_belong_to_the_stack_of_its_call() {
    let mut guest = Guest::instrumented(&fixtures::rust("workload"));
    let before = guest.live();
    guest.call::<_, ()>("fetch-and-keep", (1234_u32,)).unwrap();
    guest
        .call::<_, ()>("fetch-and-keep-list", (7_u32, 4321_u32))
        .unwrap();
    let recorder = &guest.store.data().recorder;
    for bytes in [1234, 7 * 4321] {
        let reading = guest.reading();
        let record = reading
            .contexts
            .iter()
            .find(|record| record.live_bytes() == bytes);
        let record = record.unwrap_or_else(|| panic!("{bytes} bytes in {reading:?}"));
        let context = recorder.context(&guest.store, record.index);
        assert!(
            matches!(&context, Context::Stack(frames) if !frames.is_empty()),
            "{context:?}"
        );
    }
    guest
        .call::<_, (Vec<String>,)>("give-list", (7_u32, 7_u32))
        .unwrap();
    guest.call::<_, ()>("drop-kept", ()).unwrap();
    // This frees the lists and their elements.
    assert_eq!(guest.live(), before);
}

#[test]
fn new_contexts_returns_every_context_once() {
    let mut guest = Guest::instrumented(&fixtures::rust("workload"));
    let mut cursor = ContextCursor::default();
    let recorder = &guest.store.data().recorder;
    let first = recorder.new_contexts(&guest.store, &mut cursor);
    assert!(recorder.new_contexts(&guest.store, &mut cursor).is_empty());
    guest.call::<_, ()>("tree", (4_u32,)).unwrap();
    let recorder = &guest.store.data().recorder;
    let then = recorder.new_contexts(&guest.store, &mut cursor);
    assert!(then.len() >= 16, "{then:?}");
    assert!(
        then.iter()
            .all(|(index, _)| first.iter().all(|(before, _)| before != index))
    );
    assert!(
        then.iter()
            .all(|(index, context)| recorder.context(&guest.store, *index) == *context)
    );
}
