//! Sizes of blocks that are too large for the packed values of the live table.

use crate::block::MAX_PACKED_SIZE;

/// A 32-bit address space has no room for more large blocks than this.
const MAX_LARGE_BLOCKS: usize = 1 << (32 - (MAX_PACKED_SIZE + 1).ilog2());

/// Twice [`MAX_LARGE_BLOCKS`], so that a search soon meets a free slot.
const LARGE_SLOTS: usize = 2 * MAX_LARGE_BLOCKS;

#[derive(Clone, Copy)]
struct LargeBlock {
    /// 0 in a free slot: no block has the address 0.
    pointer: u32,
    size: u32,
}

const FREE: LargeBlock = LargeBlock {
    pointer: 0,
    size: 0,
};

/// Address → size in bytes: open addressing with linear probing. A removal shifts the following
/// entries back.
pub struct LargeSizes {
    slots: [LargeBlock; LARGE_SLOTS],
    used: usize,
}

impl LargeSizes {
    /// An empty table, all zero, so that it takes no space in the runtime's binary.
    pub const fn new() -> Self {
        Self {
            slots: [FREE; LARGE_SLOTS],
            used: 0,
        }
    }

    fn home(pointer: u32) -> usize {
        ((pointer >> 3).wrapping_mul(0x9E37_79B1) >> (32 - LARGE_SLOTS.ilog2())) as usize
    }

    fn slot(&self, pointer: u32) -> usize {
        let mut slot = Self::home(pointer);
        while self.slots[slot].pointer != 0 && self.slots[slot].pointer != pointer {
            slot = (slot + 1) % LARGE_SLOTS;
        }
        slot
    }

    /// Stores the size of a block. Returns false when the table is full.
    #[cold]
    #[inline(never)]
    pub fn insert(&mut self, pointer: u32, size: u32) -> bool {
        let slot = self.slot(pointer);
        if self.slots[slot].pointer == 0 {
            if self.used == MAX_LARGE_BLOCKS {
                return false;
            }
            self.used += 1;
        }
        self.slots[slot] = LargeBlock { pointer, size };
        true
    }

    /// The size of a block, or 0 for an unknown block.
    pub fn get(&self, pointer: u32) -> u32 {
        self.slots[self.slot(pointer)].size
    }

    /// Removes a block and returns its size, or 0 for an unknown block.
    #[cold]
    #[inline(never)]
    pub fn remove(&mut self, pointer: u32) -> u32 {
        let mut hole = self.slot(pointer);
        let size = self.slots[hole].size;
        if self.slots[hole].pointer == 0 {
            return 0;
        }
        self.used -= 1;
        let mut next = hole;
        loop {
            next = (next + 1) % LARGE_SLOTS;
            let block = self.slots[next];
            if block.pointer == 0 {
                break;
            }
            let from_home = next.wrapping_sub(Self::home(block.pointer)) % LARGE_SLOTS;
            if from_home >= next.wrapping_sub(hole) % LARGE_SLOTS {
                self.slots[hole] = block;
                hole = next;
            }
        }
        self.slots[hole] = FREE;
        size
    }
}

impl Default for LargeSizes {
    fn default() -> Self {
        Self::new()
    }
}
