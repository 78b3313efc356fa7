//! The most recent blocks, which are not in the live table yet.
//!
//! Most blocks are freed soon and never reach the table. The table takes the others in batches: the
//! bucket of a block is usually not in the processor's cache, and looking up 16 buckets at once
//! takes hardly longer than looking up one.

use crate::block::LiveEntry;
use crate::lanes::{LANES, Lanes};

/// Slots for young blocks. A block is young until another one needs its slot.
const YOUNG_SLOTS: usize = 64;

/// Blocks that the live table takes at once.
pub(crate) const BATCH: usize = 16;

#[repr(align(16))]
struct Keys([u32; BATCH]);

/// Young blocks, and the batch of those that are no longer young. All zero when empty.
pub(crate) struct Recent {
    young: [LiveEntry; YOUNG_SLOTS],
    /// Addresses of the batch; 0 from `count` on.
    keys: Keys,
    /// Packed values of the batch.
    values: [u32; BATCH],
    count: usize,
}

impl Recent {
    pub(crate) const fn new() -> Self {
        Self {
            young: [LiveEntry::EMPTY; YOUNG_SLOTS],
            keys: Keys([0; BATCH]),
            values: [0; BATCH],
            count: 0,
        }
    }

    /// Adds a block. Returns false, and changes nothing, while the batch is full, or if a young
    /// block has the same address.
    #[inline(always)]
    pub(crate) fn insert(&mut self, pointer: u32, value: u32) -> bool {
        if self.count == BATCH {
            return false;
        }
        let slot = &mut self.young[slot(pointer)];
        if slot.pointer == pointer {
            return false;
        }
        let old = core::mem::replace(slot, LiveEntry { pointer, value });
        if old.pointer != 0 {
            self.push(old);
        }
        true
    }

    /// Removes a block and returns its packed value.
    #[inline(always)]
    pub(crate) fn remove(&mut self, pointer: u32) -> Option<u32> {
        let slot = &mut self.young[slot(pointer)];
        if slot.pointer == pointer {
            slot.pointer = 0;
            return Some(slot.value);
        }
        let at = self.position(pointer)?;
        let value = self.values[at % BATCH];
        let last = self.pop();
        if let Some(last) = last.filter(|last| last.pointer != pointer) {
            self.keys.0[at % BATCH] = last.pointer;
            self.values[at % BATCH] = last.value;
        }
        Some(value)
    }

    /// Removes a block if it is young, and returns its packed value.
    pub(crate) fn remove_young(&mut self, pointer: u32) -> Option<u32> {
        let slot = &mut self.young[slot(pointer)];
        (slot.pointer == pointer).then(|| {
            slot.pointer = 0;
            slot.value
        })
    }

    /// The packed value of a block, which the caller may change.
    pub(crate) fn find(&mut self, pointer: u32) -> Option<&mut u32> {
        if self.young[slot(pointer)].pointer == pointer {
            return Some(&mut self.young[slot(pointer)].value);
        }
        let at = self.position(pointer)?;
        self.values.get_mut(at)
    }

    /// Removes all blocks from the batch, in the order in which they were added, and returns them
    /// with their number.
    pub(crate) fn take_batch(&mut self) -> ([LiveEntry; BATCH], usize) {
        let mut entries = [LiveEntry::EMPTY; BATCH];
        let pairs = self.keys.0.iter_mut().zip(&self.values);
        for (entry, (pointer, value)) in entries.iter_mut().zip(pairs) {
            *entry = LiveEntry {
                pointer: core::mem::take(pointer),
                value: *value,
            };
        }
        (entries, core::mem::take(&mut self.count).min(BATCH))
    }

    /// Removes one block from the batch.
    pub(crate) fn pop(&mut self) -> Option<LiveEntry> {
        let at = self.count.checked_sub(1)? % BATCH;
        self.count = at;
        Some(LiveEntry {
            pointer: core::mem::take(&mut self.keys.0[at]),
            value: self.values[at],
        })
    }

    /// Adds a block to the batch, which must not be full.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: LiveEntry) {
        let at = self.count % BATCH;
        self.keys.0[at] = entry.pointer;
        self.values[at] = entry.value;
        self.count = at + 1;
    }

    #[inline(always)]
    fn position(&self, pointer: u32) -> Option<usize> {
        let wanted = Lanes::splat(pointer);
        let (groups, _) = self.keys.0.as_chunks::<LANES>();
        let mut hits = 0;
        for (number, group) in groups.iter().enumerate() {
            hits |= Lanes::load(group).equal(wanted).bits() << (number * LANES);
        }
        (hits != 0).then(|| hits.trailing_zeros() as usize)
    }
}

/// Adjacent blocks get different slots, and so do most blocks whose distance is a power of two.
#[inline(always)]
fn slot(pointer: u32) -> usize {
    let granule = pointer >> 4;
    (granule ^ granule >> 6) as usize % YOUNG_SLOTS
}
