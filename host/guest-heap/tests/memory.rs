//! Whether the library says the truth about the memory that it holds, by an allocator that counts.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a global allocator cannot be written without, and a test may stop at the first surprise"
)]

#[path = "reading/fixture.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod fixture;

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

// Safety: everything is handed on to the system's allocator.
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

fn check(what: &str, real: usize, said: usize, slack: f64) {
    println!("{what}: {real} bytes, said to be {said}");
    assert!(
        said as f64 >= real as f64 * 0.97,
        "{what}: {real} bytes, said to be only {said}"
    );
    assert!(
        said as f64 <= real as f64 * slack + 4096.0,
        "{what}: {real} bytes, said to be {said}"
    );
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn what_is_held_is_what_is_said() {
    let component = fixture::recorded().component.clone();
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
    assert!(symbols.release_parsed(), "there was something to release");
    assert!(!symbols.release_parsed(), "once");
    real -= before - LIVE.load(Ordering::Relaxed);
    check("symbols, released", real, symbols.memory_bytes(), 1.3);

    let (reading, contexts) = books(&offsets, 2000);
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
        "a snapshot and the sites found for it: {with_sites}, of which its own {own}"
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
    // Stacks and sites that the symbols hold as well are counted in both, so this says more than is held.
    let said = history.memory_bytes();
    println!("history: {real} bytes, said to be {said}");
    assert!(
        said >= real && said <= 2 * 1024 * 1024,
        "{real} bytes, said to be {said}"
    );
}

/// The offset of each function's body.
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

fn books(offsets: &[u32], count: u32) -> (Reading, Vec<Context>) {
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
