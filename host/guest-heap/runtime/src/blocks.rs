//! All live blocks: the young ones in a few slots, the rest in the live table.
//!
//! Most blocks die young, and their addresses are near each other. A young block lies in the slot that its address says,
//! together a few kilobytes that stay in the processor's first cache, until another one needs the slot; only then does
//! it go into the live table, where nearly every look is at memory that has not been looked at for long.

use crate::live::{Block, LiveTable, MAX_PACKED_SIZE, Region, Spill, pack_small, unpack_small};

/// As many as cover the blocks of a few calls.
const SLOTS: usize = 256;

/// An address and its value, as in the live table; 0 where there is room.
type Slot = u64;

/// Address → [`Block`].
pub struct Blocks<R> {
    young: [Slot; SLOTS],
    live: LiveTable<R>,
}

impl<R: Region> Blocks<R> {
    /// No blocks.
    ///
    /// # Safety
    ///
    /// As of [`LiveTable::new`].
    pub const unsafe fn new(region: R, spill: *mut Spill) -> Self {
        Self {
            young: [0; SLOTS],
            // SAFETY: the caller's promise.
            live: unsafe { LiveTable::new(region, spill) },
        }
    }

    /// What has outgrown its slot.
    pub fn table(&self) -> &LiveTable<R> {
        &self.live
    }

    /// Keeps a block. False, and nothing done, when that takes longer: then [`insert_slowly`](Self::insert_slowly) is to
    /// be called.
    #[inline(always)]
    pub fn insert(&mut self, pointer: u32, size: u32, context: u32) -> bool {
        if size >= MAX_PACKED_SIZE {
            return false;
        }
        let old = *self.slot(pointer);
        if old != 0 && !self.live.insert_small(old as u32, (old >> 32) as u32) {
            return false;
        }
        *self.slot(pointer) = slot_of(pointer, size, context);
        true
    }

    /// Keeps a block, whatever that takes. Returns one that there is no place for, this or another, which means that
    /// the region's growth was refused.
    #[cold]
    #[inline(never)]
    pub fn insert_slowly(&mut self, pointer: u32, size: u32, context: u32) -> Option<Block> {
        let (pointer, block) = if size >= MAX_PACKED_SIZE {
            (pointer, Block { size, context })
        } else {
            let slot = self.slot(pointer);
            let old = core::mem::replace(slot, slot_of(pointer, size, context));
            if old == 0 {
                return None;
            }
            read(old)
        };
        let kept = self.live.insert(pointer, block.size, block.context)
            || self.live.insert_slowly(pointer, block.size, block.context);
        (!kept).then_some(block)
    }

    /// Takes a block out. `None` when there is none at that address.
    #[inline(always)]
    pub fn remove(&mut self, pointer: u32) -> Option<Block> {
        let slot = self.slot(pointer);
        if *slot as u32 == pointer {
            let (_, block) = read(core::mem::take(slot));
            return Some(block);
        }
        self.live.remove(pointer)
    }

    /// Gives a block another size and context, in place, and returns what it was. `None`, and nothing done, when there
    /// is none at that address, or it is young and becomes too large for that.
    pub fn replace(&mut self, pointer: u32, size: u32, context: u32) -> Option<Block> {
        let slot = self.slot(pointer);
        if *slot as u32 != pointer {
            return self.live.replace(pointer, size, context);
        }
        if size >= MAX_PACKED_SIZE {
            return None;
        }
        let (_, block) = read(core::mem::replace(slot, slot_of(pointer, size, context)));
        Some(block)
    }

    #[inline(always)]
    fn slot(&mut self, pointer: u32) -> &mut Slot {
        // Neighbours have slots of their own, and so have blocks at distances that are powers of two.
        let at = (pointer >> 4 ^ pointer >> 12) as usize % SLOTS;
        // SAFETY: at is below SLOTS.
        unsafe { self.young.get_unchecked_mut(at) }
    }
}

#[inline(always)]
fn slot_of(pointer: u32, size: u32, context: u32) -> Slot {
    u64::from(pointer) | u64::from(pack_small(size, context)) << 32
}

#[inline(always)]
fn read(slot: Slot) -> (u32, Block) {
    (slot as u32, unpack_small((slot >> 32) as u32))
}
