//! An instrumented guest behaves like the original.

use crate::fixtures;
use crate::guest::{Benchmark, Guest};

#[test]
fn an_instrumented_guest_returns_the_results_of_the_original() {
    let bytes = fixtures::rust("workload");
    let mut guests = [Guest::original(&bytes), Guest::instrumented(&bytes)];
    let mut results = guests.each_mut().map(|guest| {
        let mut results = Vec::new();
        for benchmark in [
            Benchmark::Pair,
            Benchmark::Json,
            Benchmark::Hash,
            Benchmark::Mix,
            Benchmark::Dispatch,
            Benchmark::Fibonacci,
        ] {
            results.push(format!(
                "{:?}",
                guest.call::<_, (u64,)>("run", (benchmark, 50_u32, 3_u32))
            ));
        }
        results.push(format!("{:?}", guest.call::<_, (u32,)>("take", ("täke",))));
        results.push(format!(
            "{:?}",
            guest.call::<_, (u32,)>("take-list", (vec!["a", "", "ccc"],))
        ));
        results.push(format!(
            "{:?}",
            guest.call::<_, (String,)>("give", (10_u32,))
        ));
        results.push(format!(
            "{:?}",
            guest.call::<_, (Vec<String>,)>("give-list", (3_u32, 2_u32))
        ));
        for seed in [3, 5, 8_u64] {
            results.push(format!(
                "{:?}",
                guest.call::<_, ((u64, u64),)>("exercise", (seed, 10_000_u32, false))
            ));
        }
        results
    });
    let [original, instrumented] = &mut results;
    assert_eq!(instrumented, original);
    assert!(
        original.iter().all(|result| result.starts_with("Ok")),
        "{original:?}"
    );
}
