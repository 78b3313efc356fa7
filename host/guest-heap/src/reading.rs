//! Readings of a guest's heap tables: counts per calling context, and their sums.

use std::sync::Arc;

use crate::coverage::Coverage;
use crate::instrument::{Attribution, InstrumentedMeta};

/// What a calling context is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// A call stack: offsets in bytes from the start of the original component, innermost first.
    ///
    /// It has at most 64 frames. It omits the profiler's own frames, and frames of other core
    /// modules of the component.
    Stack(Arc<[u32]>),
    /// A context with a name instead of a call stack, such as `arguments of leak#on-request`,
    /// `initialisation` or `overflow`.
    Synthetic(Arc<str>),
}

/// What one calling context has allocated and freed since instantiation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextRecord {
    /// Number of the context, for [`Recorder::context`](crate::Recorder::context). It identifies
    /// the same context for the whole life of a store.
    pub index: u32,
    /// Bytes ever allocated, as the guest requested them.
    pub allocated_bytes: u64,
    /// Bytes of the freed blocks.
    pub freed_bytes: u64,
    /// Blocks ever allocated.
    pub allocated_objects: u64,
    /// Blocks freed.
    pub freed_objects: u64,
    /// Bytes by which linear memory grew in this context while no allocator entry point ran. They
    /// are no block and in no other count.
    pub unseen_bytes: u64,
    /// Number of these growths.
    pub unseen_growths: u64,
}

impl ContextRecord {
    /// Bytes allocated and not freed.
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Blocks allocated and not freed.
    pub fn live_objects(&self) -> u64 {
        self.allocated_objects.saturating_sub(self.freed_objects)
    }
}

/// Sums over all contexts, and counts of what the profiler could not attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes allocated and not freed, as the guest requested them: without the allocator's own
    /// overhead.
    pub live_bytes: u64,
    /// Blocks allocated and not freed.
    pub live_objects: u64,
    /// Bytes ever allocated.
    pub allocated_bytes: u64,
    /// Blocks ever allocated.
    pub allocated_objects: u64,
    /// Contexts seen, without the overflow.
    pub contexts: u64,
    /// Allocations that share the context `overflow`. An instance has room for 16,383 other
    /// contexts.
    pub overflowed: u64,
    /// Blocks for which the profiler got no memory. It counts them as freed at once.
    pub lost: u64,
    /// Bytes of the lost blocks.
    pub lost_bytes: u64,
    /// Frees of unknown blocks. The profiler has lost the block, or did not see its allocation, or
    /// the guest allocated it before the component was instrumented, as in a snapshot of an
    /// initialised program. These frees change no other count. [`Coverage`] tells them apart.
    pub unknown_frees: u64,
    /// Bytes of the tables of live blocks, in the profiler's memories.
    pub table_bytes: u64,
}

impl Totals {
    /// Adds the counts of one context.
    pub(crate) fn add(&mut self, record: &ContextRecord) {
        self.live_bytes = self.live_bytes.saturating_add(record.live_bytes());
        self.live_objects = self.live_objects.saturating_add(record.live_objects());
        self.allocated_bytes = self.allocated_bytes.saturating_add(record.allocated_bytes);
        self.allocated_objects = self
            .allocated_objects
            .saturating_add(record.allocated_objects);
    }
}

/// The sums that the guest itself keeps, so that the host reads them in some nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveSummary {
    /// Same as [`Totals::live_bytes`].
    pub live_bytes: u64,
    /// Same as [`Totals::overflowed`].
    pub overflowed: u64,
    /// Same as [`Reading::coverage`].
    pub coverage: Coverage,
}

impl LiveSummary {
    /// How precisely the heap is attributed now: see [`Coverage::attribution`].
    pub fn attribution(&self, meta: &InstrumentedMeta) -> Attribution {
        self.coverage.attribution(meta)
    }
}

/// The counts of a guest at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Sums over all contexts.
    pub totals: Totals,
    /// Every context that has ever allocated, or in which memory grew without an entry point, by
    /// ascending index.
    pub contexts: Vec<ContextRecord>,
    /// How much of the guest's memory the profiler has seen.
    pub coverage: Coverage,
}

impl Reading {
    /// How precisely the heap is attributed now: see [`Coverage::attribution`].
    pub fn attribution(&self, meta: &InstrumentedMeta) -> Attribution {
        self.coverage.attribution(meta)
    }
}
