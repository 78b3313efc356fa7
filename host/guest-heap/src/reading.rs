//! Readings of a guest's heap tables: counts per calling context, and their sums.

mod handles;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::coverage::{Coverage, LiveRange};
use crate::instrument::{Attribution, InstrumentedMeta};

use crate::source_stack::InterpretedStack;

pub use handles::{HandleRecord, Handles};

/// What a calling context is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// A call stack: offsets in bytes from the start of the original component, innermost first.
    ///
    /// It has at most 64 frames. It omits the profiler's own frames, and frames of other core
    /// modules of the component. If the instance had no room for more call stacks, it also omits
    /// repeated calls of a function, and then outer frames: see [`Totals::overflowed`].
    Stack(Arc<[u32]>),
    /// The calls of a program that an interpreter in the guest runs, such as a Python program: the
    /// innermost ones, as many as the [`Options`](crate::Options) say.
    Interpreted(Arc<InterpretedStack>),
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
    /// Bytes by which linear memory grew for an allocator entry point that was called in this
    /// context. The sum over all contexts can be less than [`Coverage::heap_seen_bytes`]: entry
    /// points that free, and those that allocate nothing after all, have no context.
    pub seen_bytes: u64,
    /// What the context has done to blocks that existed already.
    pub resizes: Resizes,
}

/// What a context has done to blocks that existed already, with `realloc`.
///
/// A block belongs to the context that has resized it last, with all of its bytes. These sums tell
/// which part of them that context has added itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resizes {
    /// Blocks that the context has ever resized. They are part of its allocated objects.
    pub objects: u64,
    /// Bytes that these blocks had before, if they belonged to another context.
    pub taken_over_bytes: u64,
    /// Bytes that these blocks had before, if they belonged to this context already.
    pub kept_bytes: u64,
    /// The other context of the last block that was taken over. It may hold nothing any more; it
    /// may have taken over the block, too.
    pub from: Option<u32>,
}

impl ContextRecord {
    /// Bytes by which linear memory grew in this context.
    pub fn grown_bytes(&self) -> u64 {
        self.seen_bytes.saturating_add(self.unseen_bytes)
    }

    /// Bytes allocated and not freed.
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Blocks allocated and not freed.
    pub fn live_objects(&self) -> u64 {
        self.allocated_objects.saturating_sub(self.freed_objects)
    }

    /// Whether the context has only resized blocks and never allocated a new one.
    pub fn only_resizes(&self) -> bool {
        self.allocated_objects > 0 && self.resizes.objects == self.allocated_objects
    }

    /// The part of the live bytes that the context has added itself, in bytes. The other contexts
    /// from which it took over blocks have added the rest.
    ///
    /// It is exact if the context has taken over no blocks, or has freed none of its blocks except
    /// by resizing them. Otherwise it is the live bytes by the share of all bytes that it has ever
    /// added.
    pub fn own_live_bytes(&self) -> u64 {
        let taken_over = self.resizes.taken_over_bytes;
        // A block that the context resizes again counts once.
        let total = self.allocated_bytes.saturating_sub(self.resizes.kept_bytes);
        let own = total.saturating_sub(taken_over);
        if taken_over == 0 || total == 0 {
            return self.live_bytes();
        }
        let share = u128::from(self.live_bytes()) * u128::from(own) / u128::from(total);
        u64::try_from(share).unwrap_or(u64::MAX)
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
    /// Contexts seen, without those that found no room.
    pub contexts: u64,
    /// Allocations whose call stack is folded because the instance has no room for more call
    /// stacks: it has room for 14,207. At most 2,048 folded call stacks follow, and then the
    /// context `overflow`.
    pub overflowed: u64,
    /// Blocks for which the profiler got no memory. It counts them as freed at once.
    pub lost: u64,
    /// Bytes of the lost blocks.
    pub lost_bytes: u64,
    /// Frees of unknown blocks. The profiler has lost the block, or did not see its allocation, or
    /// the guest allocated it before the component was instrumented, as in a snapshot of an
    /// initialised program. These frees change no other count. [`Coverage`] tells them apart.
    pub unknown_frees: u64,
    /// Contexts of an interpreted program whose source lines could not be read. They have the call
    /// stack of the interpreter.
    pub unreadable: u64,
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

    /// The true number of live bytes: see [`Coverage::live_range`].
    pub fn live_range(&self, meta: &InstrumentedMeta) -> LiveRange {
        self.coverage.live_range(meta, self.live_bytes)
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
    /// The handles that the guest has.
    pub handles: Handles,
}

impl Reading {
    /// The numbers of all contexts that have allocated blocks or got handles, each once.
    pub fn context_numbers(&self) -> impl Iterator<Item = u32> {
        let of_blocks = self.contexts.iter().map(|record| record.index);
        let of_handles = self.handles.records.iter().map(|record| record.context);
        let numbers: BTreeSet<u32> = of_blocks.chain(of_handles).collect();
        numbers.into_iter()
    }

    /// How precisely the heap is attributed now: see [`Coverage::attribution`].
    pub fn attribution(&self, meta: &InstrumentedMeta) -> Attribution {
        self.coverage.attribution(meta)
    }

    /// The true number of live bytes: see [`Coverage::live_range`].
    pub fn live_range(&self, meta: &InstrumentedMeta) -> LiveRange {
        self.coverage.live_range(meta, self.totals.live_bytes)
    }
}
