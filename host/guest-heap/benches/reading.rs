//! Measures the cost of reading for the host: `cargo bench -p guest-heap --bench reading`.
//!
//! Prints the best of several runs, since other load on the machine only makes a run slower.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark may panic"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use guest_heap::diff::{Baseline, Diff};
use guest_heap::flamegraph;
use guest_heap::history::History;
use guest_heap::pprof::ProfileBuilder;
use guest_heap::reading::{Context, ContextRecord, Reading, Totals};
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::symbols::{SymbolOptions, Symbols};

const CONTEXTS: u32 = 1000;
const DEPTH: usize = 30;

fn main() {
    let Some(component) = component() else {
        println!(
            "skipped: no component; set GUEST to the path of one, or run the tests first, which build one"
        );
        return;
    };
    println!("component of {} KB", component.len() / 1024);
    let symbols = measure("symbols: structure of the component", 5, || {
        Symbols::new(&component, SymbolOptions::default()).expect("a component")
    });
    let offsets = code_offsets(&component);

    let first = *offsets.first().expect("code");
    report(
        "symbols: first lookup, which parses the debug sections",
        best(5, || {
            let fresh = Symbols::new(&component, SymbolOptions::default()).expect("a component");
            let started = Instant::now();
            black_box(fresh.resolve(first));
            started.elapsed()
        }),
    );
    symbols.resolve(first);
    let started = Instant::now();
    offsets
        .iter()
        .for_each(|offset| drop(black_box(symbols.resolve(*offset))));
    report(
        "symbols: a new offset; the first one in a unit parses the unit",
        started.elapsed() / offsets.len() as u32,
    );
    let held = symbols.memory_bytes();
    symbols.release_parsed();
    println!(
        "symbols: {} KB with everything parsed, {} KB after release",
        held / 1024,
        symbols.memory_bytes() / 1024
    );
    let again = Symbols::new(&component, SymbolOptions::default()).expect("a component");
    let (even, odd): (Vec<_>, Vec<_>) = offsets
        .iter()
        .enumerate()
        .partition(|(position, _)| position % 2 == 0);
    even.iter()
        .for_each(|(_, offset)| drop(black_box(again.resolve(**offset))));
    let started = Instant::now();
    odd.iter()
        .for_each(|(_, offset)| drop(black_box(again.resolve(**offset))));
    report(
        "symbols: a new offset in a parsed unit",
        started.elapsed() / odd.len() as u32,
    );

    let symbols = Arc::new(symbols);
    let (reading, contexts) = synthetic_reading(&offsets);
    let take = || {
        Snapshot::new(
            &reading,
            |index| contexts.get(index as usize).cloned(),
            Arc::clone(&symbols),
        )
    };
    report("snapshot of 1,000 contexts, sites not cached", time(take).0);
    let snapshot = measure("snapshot of 1,000 contexts, sites cached", 50, take);
    measure("  … grouped by line, 20 largest", 50, || {
        snapshot.top(GroupBy::Line, 20)
    });
    measure("  … grouped by call stack, 20 largest", 50, || {
        snapshot.top(GroupBy::Trace, 20)
    });
    let baseline = measure("baseline", 50, || Baseline::new(&snapshot));
    measure("diff by line", 50, || {
        Diff::new(&baseline, &snapshot, GroupBy::Line, 20)
    });
    let mut history = History::new();
    let mut second = 0;
    measure("history: one reading", 900, || {
        second += 1;
        history.push(Duration::from_secs(second), &snapshot);
    });
    measure("history: changes over five minutes", 50, || {
        history.since(Duration::from_secs(300), GroupBy::Line, 20)
    });
    println!(
        "history: {} KB, snapshot {} KB, baseline {} KB",
        history.memory_bytes() / 1024,
        snapshot.memory_bytes() / 1024,
        baseline.memory_bytes() / 1024
    );
    measure("pprof", 5, || {
        let mut builder = ProfileBuilder::new(SystemTime::now());
        builder.add("guest", &snapshot);
        builder.encode()
    });
    measure("flame graph", 3, || {
        flamegraph::live_bytes_with(
            "bench",
            &[("guest", &snapshot)],
            flamegraph::Libraries::Shown,
        )
        .expect("a picture")
    });
}

fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let result = black_box(work());
    (started.elapsed(), result)
}

fn best(runs: usize, mut run: impl FnMut() -> Duration) -> Duration {
    (0..runs).map(|_| run()).min().unwrap_or_default()
}

fn measure<T>(what: &str, runs: usize, mut work: impl FnMut() -> T) -> T {
    let (mut least, mut result) = time(&mut work);
    for _ in 1..runs {
        let (took, next) = time(&mut work);
        least = least.min(took);
        result = next;
    }
    report(what, least);
    result
}

fn report(what: &str, took: Duration) {
    println!("{:>12.1} µs  {what}", took.as_nanos() as f64 / 1000.0);
}

/// The component that the tests build, or the one that `GUEST` names.
fn component() -> Option<Vec<u8>> {
    let built =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lines/wasm32-wasip2/release/lines.wasm");
    std::fs::read(std::env::var_os("GUEST").map_or(built, PathBuf::from)).ok()
}

/// The offset of an instruction in the middle of each function.
fn code_offsets(component: &[u8]) -> Vec<u32> {
    let bodies =
        wasmparser::Parser::new(0)
            .parse_all(component)
            .filter_map(|payload| match payload {
                Ok(wasmparser::Payload::CodeSectionEntry(body)) => Some(body),
                _ => None,
            });
    let middle = |body: wasmparser::FunctionBody<'_>| {
        let operators: Vec<u64> = body
            .get_operators_reader()
            .ok()?
            .into_iter_with_offsets()
            .filter_map(|next| Some(next.ok()?.1))
            .collect();
        u32::try_from(*operators.get(operators.len() / 2)?).ok()
    };
    bodies.filter_map(middle).collect()
}

/// A reading whose stacks contain only offsets that are resolved already.
fn synthetic_reading(offsets: &[u32]) -> (Reading, Vec<Context>) {
    let mut reading = Reading::default();
    let contexts = (0..CONTEXTS)
        .map(|index| {
            let frames = offsets
                .iter()
                .cycle()
                .skip(index as usize * 7)
                .step_by(1 + index as usize % 5);
            reading.contexts.push(ContextRecord {
                index,
                allocated_bytes: 100,
                allocated_objects: 2,
                freed_bytes: 50,
                freed_objects: 1,
                ..ContextRecord::default()
            });
            Context::Stack(frames.take(DEPTH).copied().collect())
        })
        .collect();
    let sum = u64::from(CONTEXTS);
    reading.totals = Totals {
        live_bytes: 50 * sum,
        live_objects: sum,
        allocated_bytes: 100 * sum,
        allocated_objects: 2 * sum,
        contexts: sum,
        ..Totals::default()
    };
    (reading, contexts)
}
