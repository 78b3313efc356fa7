//! Measures the cost of the profiler for the guest: each benchmark runs original and instrumented
//! in turn. Run it with `cargo bench -p guest-heap --bench heap`.
//!
//! Prints nanoseconds per iteration (the best of all rounds), their ratio and the allowed ratio. A
//! row ends in `over` if the ratio is larger than allowed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may panic"
)]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/fixtures.rs"]
mod fixtures;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/guest.rs"]
mod guest;

use std::time::Instant;

use guest::{Benchmark, Guest};
use guest_heap::{Options, instrument};

/// Rounds per benchmark. Many short rounds are best on a busy machine: some of them are
/// undisturbed.
const ROUNDS: usize = 60;

/// Name, benchmark, iterations, call depth, and the allowed ratio to the original's time.
const BENCHMARKS: [(&str, Benchmark, u32, u32, f64); 7] = [
    ("malloc + free", Benchmark::Pair, 100_000, 0, 2.2),
    ("the same, 30 calls deep", Benchmark::Pair, 20_000, 30, 1.5),
    ("JSON, 44 allocations", Benchmark::Json, 1_000, 0, 1.25),
    ("hashing 1 KiB", Benchmark::Hash, 2_000, 0, 1.01),
    ("random sizes, 4,096 live", Benchmark::Mix, 50_000, 0, 1.35),
    ("virtual calls", Benchmark::Dispatch, 200_000, 0, 1.2),
    ("fibonacci(20)", Benchmark::Fibonacci, 100, 0, 1.25),
];

fn main() {
    let bytes = fixtures::rust("workload");
    let started = Instant::now();
    let instrumented = instrument(&bytes, &Options::default()).expect("a component");
    let first = started.elapsed();
    let again = (0..5).map(|_| {
        let started = Instant::now();
        instrument(&bytes, &Options::default()).expect("a component");
        started.elapsed()
    });
    let best = again.min().unwrap_or(first);
    println!(
        "instrumenting {} bytes: {best:.1?} (first time {first:.1?})",
        bytes.len()
    );

    let mut original = Guest::original(&bytes);
    let mut profiled = Guest::new(&instrumented.component, instrumented.meta).expect("it loads");
    println!(
        "{:<26}{:>12}{:>12}{:>9}{:>9}",
        "ns per iteration", "original", "profiled", "ratio", "allowed"
    );
    for (name, benchmark, count, depth, allowed) in BENCHMARKS {
        let run = |guest: &mut Guest| {
            let started = Instant::now();
            guest
                .call::<_, (u64,)>("run", (benchmark, count, depth))
                .expect("it runs");
            started.elapsed().as_nanos() as f64 / f64::from(count)
        };
        row(name, allowed, || (run(&mut original), run(&mut profiled)));
    }
    let text = "x".repeat(100);
    let strings = |guest: &mut Guest| {
        let take = guest
            .instance
            .get_typed_func::<(&str,), (u32,)>(&mut guest.store, "take")
            .expect("it is there");
        let started = Instant::now();
        for _ in 0..10_000 {
            take.call(&mut guest.store, (&text,)).expect("it runs");
        }
        started.elapsed().as_nanos() as f64 / 10_000.0
    };
    row("a string argument", 1.3, || {
        (strings(&mut original), strings(&mut profiled))
    });

    profiled
        .call::<_, ()>("fill", (100_000_u32, 5120_u32))
        .expect("it runs");
    let totals = profiled.totals();
    println!(
        "{} live objects: {:.1} bytes each",
        totals.live_objects,
        totals.table_bytes as f64 / totals.live_objects as f64
    );
    profiled.call::<_, ()>("tree", (10_u32,)).expect("it runs");
    let best = (0..1000).map(|_| {
        let started = Instant::now();
        std::hint::black_box(profiled.reading());
        started.elapsed()
    });
    let best = best.min().unwrap_or_default();
    println!(
        "reading {} contexts: {best:.1?}",
        profiled.totals().contexts
    );
}

fn row(name: &str, allowed: f64, mut measure: impl FnMut() -> (f64, f64)) {
    measure();
    let rounds: Vec<_> = (0..ROUNDS).map(|_| measure()).collect();
    let best = |pick: fn(&(f64, f64)) -> f64| rounds.iter().map(pick).fold(f64::MAX, f64::min);
    let (original, profiled) = (best(|round| round.0), best(|round| round.1));
    let ratio = profiled / original;
    let verdict = if ratio <= allowed { "" } else { "  over" };
    println!("{name:<26}{original:>12.1}{profiled:>12.1}{ratio:>9.3}{allowed:>9.2}{verdict}");
}
