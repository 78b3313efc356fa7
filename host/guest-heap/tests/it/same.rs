//! An instrumented guest does what the original does.

use crate::fixtures;
use crate::guest::{Guest, Work};

#[test]
fn results_are_the_originals() {
    let bytes = fixtures::rust("workout");
    let mut guests = [Guest::original(&bytes), Guest::instrumented(&bytes)];
    let mut results = guests.each_mut().map(|guest| {
        let mut results = Vec::new();
        for work in [
            Work::Pair,
            Work::Json,
            Work::Hash,
            Work::Mix,
            Work::Dispatch,
            Work::Fibonacci,
        ] {
            results.push(format!(
                "{:?}",
                guest.call::<_, (u64,)>("run", (work, 50_u32, 3_u32))
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
