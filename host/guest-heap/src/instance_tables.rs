//! Reads the heap tables of one core instance in place, in the instance's memory.
//!
//! `runtime/src/contexts.rs` defines the layout: 64-bit words, eight for the header and eight for
//! each context.

use crate::reading::{ContextRecord, LiveSummary, Totals};

/// Version of the layout.
const LAYOUT_VERSION: u64 = 2;
const HEADER_WORDS: usize = 8;
const RECORD_WORDS: usize = 8;

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

    /// Number of contexts with a record, including the overflow.
    pub(crate) fn context_count(&self) -> usize {
        let room = self.words.len().saturating_sub(HEADER_WORDS) / RECORD_WORDS;
        let known = usize::try_from(self.header(1)).unwrap_or(usize::MAX);
        known.saturating_add(1).min(room)
    }

    /// The number of a synthetic context; 0 for a call stack.
    pub(crate) fn synthetic(&self, index: usize) -> u64 {
        self.record(index)
            .map_or(0, |[_, synthetic, ..]| u64::from_le(*synthetic))
    }

    /// The records of all contexts that have ever allocated.
    pub(crate) fn records(self) -> impl Iterator<Item = ContextRecord> + use<'a> {
        let records = self.words.get(HEADER_WORDS..).unwrap_or_default();
        let records = records.as_chunks::<RECORD_WORDS>().0.iter();
        let indices = self.instance << INDEX_BITS..;
        records
            .take(self.context_count())
            .zip(indices)
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

    /// Adds the counts of the header, which no record has.
    pub(crate) fn add_header(&self, totals: &mut Totals) {
        totals.contexts += self.header(1);
        totals.overflowed += self.header(2);
        totals.lost += self.header(3);
        totals.lost_bytes += self.header(4);
        totals.unknown_frees += self.header(5);
        totals.table_bytes += self.header(6);
    }

    /// The sums in the header.
    pub(crate) fn live_summary(&self) -> LiveSummary {
        LiveSummary {
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
