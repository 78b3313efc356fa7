//! The numbers of one guest.

use guest_heap::Attribution;
use guest_heap::symbols::LineTables;
use serde::Serialize;

use super::handles;
use crate::inspector::{GuestHeap, GuestVerdict, Inspector};

/// One guest's heap in numbers.
#[derive(Debug, Serialize)]
pub(crate) struct GuestSummary {
    pub(crate) guest: String,
    /// `exact`, `partial` or `off`.
    pub(crate) attribution: &'static str,
    /// Why it is not exact.
    pub(crate) attribution_why: Option<String>,
    /// `null`, as the other counts of blocks, if no hook runs, so that nothing is measured.
    pub(crate) live_bytes: Option<u64>,
    pub(crate) live_blocks: Option<u64>,
    /// The bounds of the true number of live bytes. They differ unless the attribution is exact.
    pub(crate) live_at_least_bytes: u64,
    pub(crate) live_at_most_bytes: Option<u64>,
    pub(crate) allocated_bytes: Option<u64>,
    pub(crate) allocated_blocks: Option<u64>,
    /// Call stacks that have ever allocated.
    pub(crate) contexts: u64,
    /// `null` if a module defines the memory that is not instrumented, and the host does not count
    /// it either.
    pub(crate) linear_memory_bytes: Option<u64>,
    /// Growth of linear memory for an allocator that the profiler sees.
    pub(crate) heap_seen_bytes: u64,
    /// All other growth: its blocks are in no line.
    pub(crate) heap_unseen_bytes: u64,
    pub(crate) unknown_frees: u64,
    pub(crate) lost_bytes: u64,
    pub(crate) overflowed: u64,
    /// `present`, `missing` or `outdated`.
    pub(crate) line_tables: &'static str,
    /// What to do to see lines.
    pub(crate) line_tables_why: Option<&'static str>,
    /// Resources, streams and futures that the guest has; `null` if they are not counted.
    pub(crate) live_handles: Option<u64>,
    /// What holds the memory; `null` while there is too little evidence.
    pub(crate) verdict: Option<VerdictReport>,
    /// Calls that the guest has served; `null` if the host does not count them.
    pub(crate) calls: Option<u64>,
}

/// What holds the memory of a guest.
#[derive(Debug, Serialize)]
pub(crate) struct VerdictReport {
    /// `leak`, `handles-leak`, `no-leak` and so on.
    pub(crate) name: &'static str,
    /// Whether memory is lost for good.
    pub(crate) is_leak: bool,
    /// One sentence with the evidence.
    pub(crate) sentence: String,
}

impl From<GuestVerdict> for VerdictReport {
    fn from(verdict: GuestVerdict) -> Self {
        Self {
            name: verdict.verdict.name(),
            is_leak: verdict.verdict.is_leak(),
            sentence: verdict.sentence(),
        }
    }
}

impl GuestSummary {
    /// The summary with the verdict on the guest.
    pub(crate) fn judged(self, inspector: &Inspector) -> Self {
        Self {
            verdict: inspector.verdict(&self.guest).map(VerdictReport::from),
            ..self
        }
    }

    pub(crate) fn of(heap: &GuestHeap) -> Self {
        let totals = heap.snapshot.totals();
        let coverage = heap.snapshot.coverage();
        let measured = |count: u64| heap.measures_blocks().then_some(count);
        let line_tables = heap.snapshot.symbols().line_tables();
        GuestSummary {
            guest: heap.guest.clone(),
            attribution: name(&heap.attribution),
            attribution_why: why(&heap.attribution).map(str::to_owned),
            live_bytes: measured(totals.live_bytes),
            live_blocks: measured(totals.live_objects),
            live_at_least_bytes: heap.live_range.at_least,
            live_at_most_bytes: heap.live_range.at_most,
            allocated_bytes: measured(totals.allocated_bytes),
            allocated_blocks: measured(totals.allocated_objects),
            contexts: totals.contexts,
            linear_memory_bytes: heap.linear_memory,
            heap_seen_bytes: coverage.heap_seen_bytes,
            heap_unseen_bytes: coverage.heap_unseen_bytes,
            unknown_frees: coverage.unknown_frees,
            lost_bytes: coverage.lost_bytes,
            overflowed: coverage.overflowed,
            line_tables: LineTables::name(line_tables),
            line_tables_why: LineTables::advice(line_tables),
            live_handles: handles::live(heap),
            verdict: None,
            calls: heap.calls,
        }
    }
}

fn name(attribution: &Attribution) -> &'static str {
    match attribution {
        Attribution::Exact => "exact",
        Attribution::Partial { .. } => "partial",
        Attribution::Off { .. } => "off",
    }
}

fn why(attribution: &Attribution) -> Option<&str> {
    match attribution {
        Attribution::Exact => None,
        Attribution::Partial { why } | Attribution::Off { why } => Some(why),
    }
}
