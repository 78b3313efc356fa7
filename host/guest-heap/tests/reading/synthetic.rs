//! Snapshots without a guest, whose contexts are all synthetic.

use std::collections::HashMap;
use std::sync::Arc;

use guest_heap::reading::{Context, ContextRecord, Reading, Totals};
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::{SymbolOptions, Symbols};

/// The symbols of an empty module.
pub(crate) fn no_symbols() -> Arc<Symbols> {
    Arc::new(Symbols::new(b"\0asm\x01\0\0\0", SymbolOptions::default()).unwrap())
}

/// A snapshot of these places, each with its live bytes and its live blocks.
pub(crate) fn snapshot<Place: AsRef<str>>(
    symbols: &Arc<Symbols>,
    places: &[(Place, u64, u64)],
) -> Snapshot {
    let mut reading = Reading::default();
    let mut contexts = HashMap::new();
    for (index, (place, bytes, objects)) in (0..).zip(places) {
        contexts.insert(index, Context::Synthetic(Arc::from(place.as_ref())));
        // Every context has also freed a block, so that live and allocated differ.
        reading.contexts.push(ContextRecord {
            index,
            allocated_bytes: bytes + 1000,
            freed_bytes: 1000,
            allocated_objects: objects + 1,
            freed_objects: 1,
            ..ContextRecord::default()
        });
        reading.totals.live_bytes += bytes;
        reading.totals.live_objects += objects;
        reading.totals.allocated_bytes += bytes + 1000;
        reading.totals.allocated_objects += objects + 1;
    }
    reading.totals = Totals {
        contexts: places.len() as u64,
        ..reading.totals
    };
    Snapshot::new(
        &reading,
        |index| contexts.get(&index).cloned(),
        Arc::clone(symbols),
    )
}
