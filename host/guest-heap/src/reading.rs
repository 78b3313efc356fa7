//! The books as the runtime keeps them, read where they lie.
//!
//! The layout is that of `runtime/src/contexts.rs`: 64-bit words, eight of a header and eight for
//! each context.

pub use crate::recorder::Context;

/// The layout's version.
const LAYOUT: u64 = 2;
const HEADER_WORDS: usize = 8;
const RECORD_WORDS: usize = 8;

/// Bits of a context's index within its instance.
pub(crate) const INDEX_BITS: u32 = 14;

/// What one calling context has allocated and freed since instantiation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextRecord {
    /// The context's number, for [`Recorder::context`](crate::Recorder::context). It never changes
    /// its meaning in the life of a store.
    pub index: u32,
    /// Bytes asked for.
    pub allocated_bytes: u64,
    /// Of these, bytes given back.
    pub freed_bytes: u64,
    /// Blocks handed out.
    pub allocated_objects: u64,
    /// Of these, blocks given back.
    pub freed_objects: u64,
}

impl ContextRecord {
    /// Bytes that are still allocated.
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Blocks that are still allocated.
    pub fn live_objects(&self) -> u64 {
        self.allocated_objects.saturating_sub(self.freed_objects)
    }
}

/// Sums over all contexts, and what the books could not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes that are allocated, as they were asked for: without the allocator's own expense.
    pub live_bytes: u64,
    /// Blocks that are allocated.
    pub live_objects: u64,
    /// Bytes ever allocated.
    pub allocated_bytes: u64,
    /// Blocks ever allocated.
    pub allocated_objects: u64,
    /// Contexts seen.
    pub contexts: u64,
    /// Allocations that had to share the context "overflow", of 16,384 others.
    pub overflowed: u64,
    /// Blocks that the profiler had no memory to keep track of: they count as freed at once.
    pub lost: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// Frees of blocks that are not in the books: lost, or allocated before the component was
    /// instrumented, in a snapshot of an initialised program. They change nothing else.
    pub unknown_frees: u64,
    /// Bytes of the table of live blocks.
    pub table_bytes: u64,
}

/// What the books say at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// As in [`Totals`].
    pub live_bytes: u64,
    /// As in [`Totals`].
    pub overflowed: u64,
}

/// The books at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Sums.
    pub totals: Totals,
    /// Each context that has ever allocated, by ascending index.
    pub contexts: Vec<ContextRecord>,
}

/// The books of one core instance.
#[derive(Clone, Copy)]
pub(crate) struct Book<'a> {
    words: &'a [u64],
    /// The instance's number.
    number: u32,
}

impl<'a> Book<'a> {
    /// `None` when the words are no books of this version.
    pub(crate) fn new(words: &'a [u64], number: u32) -> Option<Self> {
        (words.first().copied().map(u64::from_le) == Some(LAYOUT)).then_some(Self { words, number })
    }

    /// The instance's number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Contexts that have a record, the overflow counted.
    pub(crate) fn contexts(&self) -> usize {
        let room = self.words.len().saturating_sub(HEADER_WORDS) / RECORD_WORDS;
        let known = usize::try_from(self.header(1)).unwrap_or(usize::MAX);
        known.saturating_add(1).min(room)
    }

    /// The number of the special context that a context is; 0 for a call stack.
    pub(crate) fn special(&self, index: usize) -> u64 {
        self.record(index)
            .map_or(0, |[_, special, ..]| u64::from_le(*special))
    }

    /// Each context that has ever allocated.
    pub(crate) fn records(self) -> impl Iterator<Item = ContextRecord> + use<'a> {
        let records = self.words.get(HEADER_WORDS..).unwrap_or_default();
        let records = records.as_chunks::<RECORD_WORDS>().0.iter();
        let numbers = self.number << INDEX_BITS..;
        records
            .take(self.contexts())
            .zip(numbers)
            .filter_map(|(record, index)| {
                let [
                    _,
                    _,
                    allocated_bytes,
                    allocated_objects,
                    freed_bytes,
                    freed_objects,
                    _,
                    _,
                ] = record.map(u64::from_le);
                (allocated_objects > 0).then_some(ContextRecord {
                    index,
                    allocated_bytes,
                    freed_bytes,
                    allocated_objects,
                    freed_objects,
                })
            })
    }

    /// Adds what is not in any record.
    pub(crate) fn add_header(&self, totals: &mut Totals) {
        totals.contexts += self.header(1);
        totals.overflowed += self.header(2);
        totals.lost += self.header(3);
        totals.lost_bytes += self.header(4);
        totals.unknown_frees += self.header(5);
        totals.table_bytes += self.header(6);
    }

    /// What the header alone says.
    pub(crate) fn glance(&self) -> Glance {
        Glance {
            live_bytes: self.header(7),
            overflowed: self.header(2),
        }
    }

    fn header(&self, word: usize) -> u64 {
        self.words.get(word).copied().map_or(0, u64::from_le)
    }

    fn record(&self, index: usize) -> Option<&'a [u64; RECORD_WORDS]> {
        let records = self.words.get(HEADER_WORDS..)?;
        records.as_chunks::<RECORD_WORDS>().0.get(index)
    }
}

impl Totals {
    /// Adds a context's.
    pub(crate) fn add(&mut self, record: &ContextRecord) {
        self.live_bytes = self.live_bytes.saturating_add(record.live_bytes());
        self.live_objects = self.live_objects.saturating_add(record.live_objects());
        self.allocated_bytes = self.allocated_bytes.saturating_add(record.allocated_bytes);
        self.allocated_objects = self
            .allocated_objects
            .saturating_add(record.allocated_objects);
    }
}
