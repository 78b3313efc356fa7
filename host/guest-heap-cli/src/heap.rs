//! What a guest's heap holds at one time.

use std::collections::HashMap;
use std::sync::Arc;

use guest_heap::snapshot::Snapshot;
use guest_heap::symbols::Symbols;
use guest_heap::{Attribution, Context, LiveRange, Reading};
use wasmtime::AsContext;

use crate::host_state::HostState;

/// A heap with names.
pub(crate) struct Heap {
    pub(crate) snapshot: Snapshot,
    pub(crate) attribution: Attribution,
    pub(crate) live_range: LiveRange,
    /// Bytes of all linear memories, as the engine counts them.
    pub(crate) linear_memory: u64,
    /// Growths of memory that no allocator entry point made, largest first: bytes, and the names of
    /// the call stack's functions, innermost first.
    pub(crate) unseen: Vec<(u64, Vec<String>)>,
}

/// A heap as the guest's tables have it. Reading it takes microseconds; the names take longer and
/// need no store.
pub(crate) struct RawHeap {
    reading: Reading,
    contexts: HashMap<u32, Context>,
    attribution: Attribution,
    live_range: LiveRange,
    linear_memory: u64,
}

impl Heap {
    /// Whether the counts of blocks are a measurement.
    pub(crate) fn measures_blocks(&self) -> bool {
        let totals = self.snapshot.totals();
        self.attribution.measures_blocks(totals.allocated_objects)
    }

    /// Bytes of linear memory whose allocations the profiler does not see.
    pub(crate) fn unseen_bytes(&self) -> u64 {
        let coverage = self.snapshot.coverage();
        match coverage.memory_is_known() || self.measures_blocks() {
            true => coverage.heap_unseen_bytes + coverage.other_bytes(),
            false => self.linear_memory,
        }
    }
}

impl RawHeap {
    /// Reads the heap of the guest in a store. It also works after a trap.
    pub(crate) fn read(store: &impl AsContext<Data = HostState>) -> Self {
        let context = store.as_context();
        let recorder = &context.data().recorder;
        let reading = recorder.read(&context);
        let numbers = reading.context_numbers();
        let contexts = numbers
            .map(|number| (number, recorder.context(&context, number)))
            .collect();
        Self {
            attribution: reading.attribution(recorder.meta()),
            live_range: reading.live_range(recorder.meta()),
            contexts,
            linear_memory: context.data().memory.used(),
            reading,
        }
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.reading.totals.live_bytes
    }

    pub(crate) fn live_objects(&self) -> u64 {
        self.reading.totals.live_objects
    }

    pub(crate) fn linear_memory(&self) -> u64 {
        self.linear_memory
    }

    /// Whether the counts of blocks are a measurement.
    pub(crate) fn measures_blocks(&self) -> bool {
        let totals = &self.reading.totals;
        self.attribution.measures_blocks(totals.allocated_objects)
    }

    /// Finds the names.
    pub(crate) fn symbolize(&self, symbols: &Arc<Symbols>) -> Heap {
        let stack = |index| self.contexts.get(&index).cloned();
        let snapshot = Snapshot::new(&self.reading, stack, symbols.clone());
        let mut unseen: Vec<_> = self
            .reading
            .contexts
            .iter()
            .filter(|record| record.unseen_growths > 0)
            .filter_map(|record| {
                let frames = snapshot.frames(self.contexts.get(&record.index)?);
                let names = frames.iter().map(|frame| frame.function.to_string());
                Some((record.unseen_bytes, names.collect()))
            })
            .collect();
        unseen.sort_by(|(a, _): &(u64, _), (b, _)| b.cmp(a));
        Heap {
            attribution: self.attribution.clone(),
            live_range: self.live_range,
            linear_memory: self.linear_memory,
            snapshot,
            unseen,
        }
    }
}
