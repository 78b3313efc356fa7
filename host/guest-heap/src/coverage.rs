//! How much of a guest's memory the profiler has seen, and what follows for its attribution.
//!
//! What is known before the guest runs is in [`InstrumentedMeta::attribution`]. What shows only
//! while it runs is in [`Coverage`]. [`Coverage::attribution`] combines both.

mod live_range;
#[cfg(test)]
mod tests;

use crate::instrument::{Attribution, InstrumentedMeta, Missing};
use crate::numbers::{convert_to_numbers, grouped};

pub use live_range::LiveRange;

/// Bytes of a wasm page.
pub(crate) const WASM_PAGE: u64 = 65_536;

/// Bytes by which modules without an instrumented allocator may grow memory before the attribution
/// is partial. The adapter between WASI versions takes one page for its state and one for a stack.
const ADAPTER_BYTES: u64 = 2 * WASM_PAGE;

/// What the profiler has seen of a guest's linear memory since instantiation, and what it has not.
///
/// The sizes are sums over the instrumented core instances, in bytes. Growth counts in whole pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Linear memory, without the profiler's own. Up to date after each growth and each export.
    pub memory_bytes: u64,
    /// Static data and stack in the initial memory, at least. Data that is zero at first may lie
    /// behind it.
    pub static_bytes: u64,
    /// Initial memory behind the static data: the largest heap that the guest can have without a
    /// growth. How much of it is heap cannot be known.
    pub initial_heap_bytes: u64,
    /// Bytes by which memory grew for an allocator entry point.
    pub heap_seen_bytes: u64,
    /// Bytes by which memory grew in instrumented code while no entry point ran. The records of the
    /// contexts have the call stacks: see [`ContextRecord`](crate::ContextRecord).
    pub heap_unseen_bytes: u64,
    /// Frees of blocks whose allocation no hook has seen. The frees of lost blocks are among them.
    pub unknown_frees: u64,
    /// Frees of unknown blocks inside the data segments. A snapshot of an initialised program has
    /// its heap there, so these frees are expected.
    pub snapshot_frees: u64,
    /// Blocks that an entry point handed out again while they were live: no hook has seen how they
    /// were freed. A lower bound. The profiler counts them as freed when it notices.
    pub reused_blocks: u64,
    /// Blocks for which the profiler got no memory.
    pub lost_blocks: u64,
    /// Bytes of the lost blocks.
    pub lost_bytes: u64,
    /// Allocations whose call stacks are folded: see [`Totals::overflowed`](crate::Totals::overflowed).
    pub overflowed: u64,
}

impl Coverage {
    /// Bytes by which memory grew in core modules that are not instrumented, such as the adapter
    /// between WASI versions.
    pub fn other_bytes(&self) -> u64 {
        let initial = self.static_bytes.saturating_add(self.initial_heap_bytes);
        let grown = self.heap_seen_bytes.saturating_add(self.heap_unseen_bytes);
        self.memory_bytes
            .saturating_sub(initial.saturating_add(grown))
    }

    /// What the profiler may miss, by what was known before the guest ran and by what it has seen
    /// since.
    pub fn missing(&self, meta: &InstrumentedMeta) -> Missing {
        let known = meta.missing();
        // Where one way into the allocator was not seen, another one may not be, either.
        let has_bypass = self.heap_unseen_bytes > 0 || self.unknown_frees > 0;
        Missing {
            frees: known.frees || has_bypass || self.reused_blocks > 0,
            allocations: known.allocations
                || has_bypass
                || self.other_bytes() > ADAPTER_BYTES
                || self.lost_blocks > 0,
            memories: known.memories,
        }
    }

    /// The range of the true number of live bytes, when the profiler counts `live_bytes`.
    ///
    /// - If no free is missed, all counted blocks are live. Otherwise nothing tells which ones are.
    /// - If no allocation is missed, no other block is live. Otherwise live bytes are at most the
    ///   linear memory: the heap of a snapshot lies in its data segments. If the memory belongs to
    ///   a module that is not instrumented, there is no upper bound.
    ///
    /// Blocks of a snapshot that the guest started from are in no number.
    pub fn live_range(&self, meta: &InstrumentedMeta, live_bytes: u64) -> LiveRange {
        if matches!(meta.attribution(), Attribution::Off { .. }) {
            return LiveRange::UNKNOWN;
        }
        let missing = self.missing(meta);
        LiveRange {
            at_least: if missing.frees { 0 } else { live_bytes },
            at_most: match missing {
                Missing { memories: true, .. } => None,
                Missing {
                    allocations: true, ..
                } => self
                    .memory_is_known()
                    .then(|| self.memory_bytes.max(live_bytes)),
                _ => Some(live_bytes),
            },
        }
    }

    /// Whether the numbers about linear memory are known. They are 0 if a module defines the memory
    /// that is not instrumented, as in components of Python.
    pub fn memory_is_known(&self) -> bool {
        self.memory_bytes > 0
    }

    /// Whether nothing has happened that makes the attribution partial.
    pub fn is_complete(&self) -> bool {
        self.heap_unseen_bytes == 0
            && self.unknown_frees == 0
            && self.reused_blocks == 0
            && self.lost_blocks == 0
            && self.overflowed == 0
            && self.other_bytes() <= ADAPTER_BYTES
    }

    /// How precisely the heap is attributed, by what was known before the guest ran and by what
    /// the profiler has seen since.
    ///
    /// It is [`Attribution::Exact`] only while both are complete. The reasons give numbers.
    pub fn attribution(&self, meta: &InstrumentedMeta) -> Attribution {
        let known = match meta.attribution() {
            Attribution::Off { .. } => return meta.attribution().clone(),
            Attribution::Exact if self.is_complete() => return Attribution::Exact,
            Attribution::Exact => None,
            Attribution::Partial { why } => Some(why.clone()),
        };
        let reasons: Vec<String> = known.into_iter().chain(self.gaps()).collect();
        Attribution::Partial {
            why: reasons.join("; "),
        }
    }

    /// What the attribution is based on, in a sentence with numbers. It is true for an exact
    /// attribution, too: it says how much of the heap cannot be known, how large static data is,
    /// and that blocks of a snapshot were freed.
    pub fn evidence(&self) -> String {
        let mut evidence = format!(
            "allocator entry points made {} of {} bytes of growth; ",
            grouped(self.heap_seen_bytes),
            grouped(self.heap_seen_bytes.saturating_add(self.heap_unseen_bytes)),
        );
        if self.memory_is_known() {
            evidence.push_str(&format!(
                "at most {} bytes of heap were there at the start; static data and stack take at \
                 least {} bytes, and what the program allocates there by itself is not seen",
                grouped(self.initial_heap_bytes),
                grouped(self.static_bytes),
            ));
        } else {
            evidence.push_str(
                "the memory belongs to a module that is not instrumented, so its size is not known",
            );
        }
        if self.snapshot_frees > 0 {
            evidence.push_str(&format!(
                "; freed blocks of the snapshot that the guest started from: {}",
                grouped(self.snapshot_frees)
            ));
        }
        evidence
    }

    /// Why the attribution is partial, as far as it shows while the guest runs.
    fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if self.heap_unseen_bytes > 0 {
            gaps.push(format!(
                "{} of {} bytes over static data came by growth that no entry point made, at most \
                 {} at the start",
                grouped(self.heap_unseen_bytes),
                grouped(self.memory_bytes.saturating_sub(self.static_bytes)),
                grouped(self.initial_heap_bytes),
            ));
        }
        if self.other_bytes() > ADAPTER_BYTES {
            gaps.push(format!(
                "{} bytes came by growth in modules that are not instrumented",
                grouped(self.other_bytes())
            ));
        }
        let counts = [
            (
                self.unknown_frees,
                "frees of blocks whose allocation was not seen",
            ),
            (
                self.reused_blocks,
                "blocks handed out again before a free was seen",
            ),
            (self.overflowed, "allocations with folded call stacks"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            gaps.push(format!("{what}: {}", grouped(count)));
        }
        if self.lost_blocks > 0 {
            gaps.push(format!(
                "blocks that are not tracked, because the profiler got no memory: {}, with {} bytes",
                grouped(self.lost_blocks),
                grouped(self.lost_bytes)
            ));
        }
        gaps
    }

    /// Adds the coverage of another core instance.
    pub(crate) fn add(&mut self, other: &Self) {
        let mut sums = self.to_numbers();
        for (sum, more) in sums.iter_mut().zip(other.to_numbers()) {
            *sum = sum.saturating_add(more);
        }
        *self = Self::from_numbers(sums);
    }
}

// The host publishes them without a lock.
convert_to_numbers!(pub Coverage: u64,
    memory_bytes static_bytes initial_heap_bytes heap_seen_bytes heap_unseen_bytes unknown_frees
    snapshot_frees reused_blocks lost_blocks lost_bytes overflowed
);
