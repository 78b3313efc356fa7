//! Compares the results of `memory_bytes` with the count of a counting allocator.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a global allocator needs unsafe code, and a test may panic"
)]

#[path = "reading/lines_guest.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod lines_guest;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use guest_heap::history::History;
use guest_heap::reading::{Context, ContextRecord, Reading, Totals};
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::{SymbolOptions, Symbols};

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

/// Bytes that `make` leaves allocated.
fn held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    let made = make();
    (made, LIVE.load(Ordering::Relaxed).saturating_sub(before))
}

/// Checks that `reported` is at least 97 % of `real` and at most `slack` times as large, plus 4
/// KiB.
fn check(what: &str, real: usize, reported: usize, slack: f64) {
    println!("{what}: {real} bytes, {reported} reported");
    assert!(
        reported as f64 >= real as f64 * 0.97,
        "{what}: {real} bytes, but only {reported} reported"
    );
    assert!(
        reported as f64 <= real as f64 * slack + 4096.0,
        "{what}: {real} bytes, {reported} reported"
    );
}

/// This is one test, so that no other test allocates at the same time.
#[test]
fn memory_bytes_reports_the_allocated_bytes() {
    let component = lines_guest::recorded().component.clone();
    let offsets = code_offsets(&component);
    let (symbols, mut real) =
        held(|| Arc::new(Symbols::new(&component, SymbolOptions::default()).unwrap()));
    check("symbols, nothing parsed", real, symbols.memory_bytes(), 1.2);

    real += held(|| symbols.resolve(offsets[0])).1;
    check("symbols, one lookup", real, symbols.memory_bytes(), 30.0);
    real += held(|| {
        offsets
            .iter()
            .for_each(|offset| drop(symbols.resolve(*offset)))
    })
    .1;
    check(
        "symbols, every function looked up",
        real,
        symbols.memory_bytes(),
        2.5,
    );

    let before = LIVE.load(Ordering::Relaxed);
    assert!(symbols.release_parsed(), "there was nothing to release");
    assert!(!symbols.release_parsed(), "released twice");
    real -= before - LIVE.load(Ordering::Relaxed);
    check("symbols, released", real, symbols.memory_bytes(), 1.3);

    let (reading, contexts) = synthetic_reading(&offsets, 2000);
    let (snapshot, with_sites) = held(|| {
        Snapshot::new(
            &reading,
            |index| contexts.get(index as usize).cloned(),
            Arc::clone(&symbols),
        )
    });
    let own = snapshot.memory_bytes();
    assert!(
        own <= with_sites,
        "a snapshot and its sites take {with_sites} bytes, but the snapshot alone reports {own}"
    );

    let (history, real) = held(|| {
        let mut history = History::new();
        for second in 0..900_u64 {
            let mut reading = reading.clone();
            for record in reading.contexts.iter_mut().step_by(3) {
                record.allocated_bytes += second * 64;
                reading.totals.live_bytes += second * 64;
            }
            let snapshot = Snapshot::new(
                &reading,
                |index| contexts.get(index as usize).cloned(),
                Arc::clone(&symbols),
            );
            history.push(Duration::from_secs(second), &snapshot);
        }
        history
    });
    // The history also counts stacks and sites that it shares with the symbols, so it reports more.
    let reported = history.memory_bytes();
    println!("history: {real} bytes, {reported} reported");
    assert!(
        reported >= real && reported <= 2 * 1024 * 1024,
        "{real} bytes, {reported} reported"
    );
}

/// An offset near the end of each function body.
fn code_offsets(component: &[u8]) -> Vec<u32> {
    wasmparser::Parser::new(0)
        .parse_all(component)
        .filter_map(|payload| match payload {
            Ok(wasmparser::Payload::CodeSectionEntry(body)) => {
                u32::try_from(body.range().end - 2).ok()
            }
            _ => None,
        })
        .collect()
}

/// A reading of `count` contexts with stacks of these offsets.
fn synthetic_reading(offsets: &[u32], count: u32) -> (Reading, Vec<Context>) {
    let mut reading = Reading::default();
    let contexts = (0..count)
        .map(|index| {
            reading.contexts.push(ContextRecord {
                index,
                allocated_bytes: 100,
                allocated_objects: 1,
                ..ContextRecord::default()
            });
            let stack = offsets
                .iter()
                .cycle()
                .skip(index as usize * 3)
                .step_by(1 + index as usize % 4);
            Context::Stack(stack.take(24).copied().collect())
        })
        .collect();
    let count = u64::from(count);
    reading.totals = Totals {
        live_bytes: 100 * count,
        live_objects: count,
        allocated_bytes: 100 * count,
        allocated_objects: count,
        contexts: count,
        ..Totals::default()
    };
    (reading, contexts)
}
