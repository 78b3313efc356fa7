//! Reads the heap tables of one core instance in place, in the instance's memory.
//!
//! `runtime/src/contexts.rs` defines the layout: 64-bit words, 24 for the header, eight for each
//! context, eight for the check of the contexts, and four for the resizes of each context. The
//! ledger of handles follows: eight words, and three for each entry.

use std::sync::Arc;

use crate::coverage::{Coverage, WASM_PAGE};
use crate::reading::{ContextRecord, HandleRecord, LiveSummary, Resizes, Totals};

/// Version of the layout.
const LAYOUT_VERSION: u64 = 5;
const HEADER_WORDS: usize = 24;
const RECORD_WORDS: usize = 8;
const CHECK_WORDS: usize = 8;
const RESIZE_WORDS: usize = 4;
const HANDLE_HEADER_WORDS: usize = 8;
const HANDLE_WORDS: usize = 3;
const HANDLE_ENTRIES: usize = 256 + 4096;
/// Records of an instance. The last ones are for folded call stacks.
const MAX_CONTEXTS: usize = 1 << INDEX_BITS;
/// Index of the first folded call stack within its instance.
pub(crate) const FIRST_FOLDED: usize = MAX_CONTEXTS - 2048;

/// Bits of a context's index within its instance. The bits above are the instance's number.
pub(crate) const INDEX_BITS: u32 = 14;

/// The heap tables of one core instance.
#[derive(Clone, Copy)]
pub(crate) struct InstanceTables<'a> {
    words: &'a [u64],
    instance: u32,
}

impl<'a> InstanceTables<'a> {
    /// `None` when the words are not tables of this layout version.
    pub(crate) fn new(words: &'a [u64], instance: u32) -> Option<Self> {
        (words.first().copied().map(u64::from_le) == Some(LAYOUT_VERSION))
            .then_some(Self { words, instance })
    }

    /// The number of the instance.
    pub(crate) fn instance(&self) -> u32 {
        self.instance
    }

    /// Number of contexts with a record, including the overflow, without the folded call stacks.
    pub(crate) fn context_count(&self) -> usize {
        let room = self.words.len().saturating_sub(HEADER_WORDS) / RECORD_WORDS;
        let known = usize::try_from(self.header(1)).unwrap_or(usize::MAX);
        known.saturating_add(1).min(room).min(FIRST_FOLDED)
    }

    /// The number of a synthetic context; 0 for a call stack.
    pub(crate) fn synthetic(&self, index: usize) -> u64 {
        self.record(index)
            .map_or(0, |[_, synthetic, ..]| u64::from_le(*synthetic))
    }

    /// The records of all contexts that have ever allocated, or in which memory grew without an
    /// entry point.
    pub(crate) fn records(self) -> impl Iterator<Item = ContextRecord> + use<'a> {
        let overflows = self.header(2) > 0;
        let folded = if overflows { MAX_CONTEXTS } else { 0 };
        let indices = (0..self.context_count()).chain(FIRST_FOLDED..folded);
        indices.filter_map(move |index| {
            let record = self.record(index)?.map(u64::from_le);
            let [
                context,
                _,
                allocated_bytes,
                allocated_objects,
                freed_bytes,
                freed_objects,
                unseen,
                seen_pages,
            ] = record;
            // Two numbers of 32 bits.
            let (unseen_pages, unseen_growths) = (unseen & u64::from(u32::MAX), unseen >> 32);
            let seen_pages = seen_pages.saturating_add(self.growing_pages(context));
            (allocated_objects > 0 || unseen_growths > 0).then(|| ContextRecord {
                index: self.instance << INDEX_BITS | index as u32,
                allocated_bytes,
                freed_bytes,
                allocated_objects,
                freed_objects,
                unseen_bytes: unseen_pages.saturating_mul(WASM_PAGE),
                unseen_growths,
                seen_bytes: seen_pages.saturating_mul(WASM_PAGE),
                resizes: self.resizes(index),
            })
        })
    }

    /// Pages of the most recent growth for an entry point, if it belongs to this context. The
    /// runtime adds it to the record at the next growth.
    fn growing_pages(self, context: u64) -> u64 {
        if context != 0 && context == self.header(15) {
            self.header(16)
        } else {
            0
        }
    }

    /// What a context has done to blocks that existed already.
    fn resizes(self, index: usize) -> Resizes {
        let start = HEADER_WORDS + MAX_CONTEXTS * RECORD_WORDS + CHECK_WORDS;
        let resizes = self.words.get(start..).unwrap_or_default();
        let resizes = resizes.as_chunks::<RESIZE_WORDS>().0.get(index);
        let [objects, taken_over_bytes, kept_bytes, from] =
            resizes.map_or([0; RESIZE_WORDS], |resizes| resizes.map(u64::from_le));
        let from = from
            .checked_sub(1)
            .and_then(|from| u32::try_from(from).ok());
        let from = from.filter(|from| (*from as usize) < MAX_CONTEXTS);
        Resizes {
            objects,
            taken_over_bytes,
            kept_bytes,
            from: from.map(|from| self.instance << INDEX_BITS | from),
        }
    }

    /// The ledger of handles.
    fn handle_words(&self) -> &'a [u64] {
        let start = HEADER_WORDS + MAX_CONTEXTS * (RECORD_WORDS + RESIZE_WORDS) + CHECK_WORDS;
        self.words.get(start..).unwrap_or_default()
    }

    /// Handles that are in no record, because their number is too large.
    pub(crate) fn untracked_handles(&self) -> u64 {
        self.handle_words().first().copied().map_or(0, u64::from_le)
    }

    /// The records of handles. `types` are the names of the types by number.
    pub(crate) fn handles(
        self,
        types: &[Arc<str>],
    ) -> impl Iterator<Item = HandleRecord> + use<'a, '_> {
        let words = self.handle_words();
        let is_used = words.get(2).is_some_and(|is_used| *is_used != 0);
        let entries = words.get(HANDLE_HEADER_WORDS..).unwrap_or_default();
        let entries = entries.as_chunks::<HANDLE_WORDS>().0.iter();
        let entries = entries.take(if is_used { HANDLE_ENTRIES } else { 0 });
        entries.filter_map(move |entry| {
            let [place, made, ended] = entry.map(u64::from_le);
            // Two numbers of 32 bits.
            let (context, ty) = (place as u32, (place >> 32) as usize);
            let ty = types.get(ty).or(types.first())?;
            (made > 0 && (context as usize) < MAX_CONTEXTS).then(|| HandleRecord {
                context: self.instance << INDEX_BITS | context,
                ty: Arc::clone(ty),
                made,
                ended,
            })
        })
    }

    /// Allocations that the runtime could not report for the check of the contexts.
    pub(crate) fn unreported(&self) -> u64 {
        let word = HEADER_WORDS + MAX_CONTEXTS * RECORD_WORDS;
        self.words.get(word).copied().map_or(0, u64::from_le)
    }

    /// Adds the counts of the header, which no record has.
    pub(crate) fn add_header(&self, totals: &mut Totals) {
        totals.contexts += self.header(1);
        totals.overflowed += self.header(2);
        totals.lost += self.header(3);
        totals.lost_bytes += self.header(4);
        totals.unknown_frees += self.header(5) + self.header(14);
        totals.table_bytes += self.header(6);
    }

    /// The sums in the header.
    pub(crate) fn live_summary(&self) -> LiveSummary {
        LiveSummary {
            live_bytes: self.header(7),
            overflowed: self.header(2),
            coverage: self.coverage(),
        }
    }

    /// What the profiler has seen of this instance's memory.
    pub(crate) fn coverage(&self) -> Coverage {
        let bytes = |word| self.header(word).saturating_mul(WASM_PAGE);
        let [memory, initial, grown, seen] = [8, 9, 11, 12].map(bytes);
        let static_bytes = self.header(10);
        Coverage {
            memory_bytes: memory,
            static_bytes,
            initial_heap_bytes: initial.saturating_sub(static_bytes),
            heap_seen_bytes: seen,
            heap_unseen_bytes: grown.saturating_sub(seen),
            unknown_frees: self.header(5),
            snapshot_frees: self.header(14),
            reused_blocks: self.header(13),
            lost_blocks: self.header(3),
            lost_bytes: self.header(4),
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
