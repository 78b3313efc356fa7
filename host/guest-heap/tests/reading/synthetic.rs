//! Books made up by a test, attributed to named places without any guest.

use std::collections::HashMap;
use std::sync::Arc;

use guest_heap::reading::{Context, ContextRecord, Reading, Totals};
use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::{SymbolOptions, Symbols};

/// Symbols of a module without code.
pub(crate) fn no_symbols() -> Arc<Symbols> {
    Arc::new(Symbols::new(b"\0asm\x01\0\0\0", SymbolOptions::default()).unwrap())
}

/// A snapshot in which each place holds so many bytes in so many blocks.
pub(crate) fn snapshot<Place: AsRef<str>>(
    symbols: &Arc<Symbols>,
    places: &[(Place, u64, u64)],
) -> Snapshot {
    let mut reading = Reading::default();
    let mut contexts = HashMap::new();
    for (index, (place, bytes, objects)) in (0..).zip(places) {
        contexts.insert(index, Context::Synthetic(Arc::from(place.as_ref())));
        // Something was freed in every context, to tell live from allocated.
        reading.contexts.push(ContextRecord {
            index,
            allocated_bytes: bytes + 1000,
            freed_bytes: 1000,
            allocated_objects: objects + 1,
            freed_objects: 1,
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
