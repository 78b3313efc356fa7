//! Sizes of blocks that are too large for an entry of the live table.

use crate::live::MAX_PACKED_SIZE;

/// No more such blocks than this fit into a 32-bit address space.
const MOST: usize = 1 << (32 - (MAX_PACKED_SIZE + 1).ilog2());

/// Twice as many, so that a search ends soon.
const SLOTS: usize = 2 * MOST;

#[derive(Clone, Copy)]
struct Block {
    /// 0 where the slot is free: no block lies at address 0.
    pointer: u32,
    size: u32,
}

const FREE: Block = Block {
    pointer: 0,
    size: 0,
};

/// Address → size, open-addressed with linear probing; a removal shifts what follows back.
pub struct LargeSizes {
    slots: [Block; SLOTS],
    used: usize,
}

impl LargeSizes {
    /// An empty table, all zero.
    pub const fn new() -> Self {
        Self {
            slots: [FREE; SLOTS],
            used: 0,
        }
    }

    fn home(pointer: u32) -> usize {
        ((pointer >> 3).wrapping_mul(0x9E37_79B1) >> (32 - SLOTS.ilog2())) as usize
    }

    fn slot(&self, pointer: u32) -> usize {
        let mut slot = Self::home(pointer);
        while self.slots[slot].pointer != 0 && self.slots[slot].pointer != pointer {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    /// Keeps the size of a block; false when there is no room.
    #[cold]
    #[inline(never)]
    pub fn insert(&mut self, pointer: u32, size: u32) -> bool {
        let slot = self.slot(pointer);
        if self.slots[slot].pointer == 0 {
            if self.used == MOST {
                return false;
            }
            self.used += 1;
        }
        self.slots[slot] = Block { pointer, size };
        true
    }

    /// Takes the size of a block out; 0 when it was never put in.
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
            next = (next + 1) % SLOTS;
            let block = self.slots[next];
            if block.pointer == 0 {
                break;
            }
            let from_home = next.wrapping_sub(Self::home(block.pointer)) % SLOTS;
            if from_home >= next.wrapping_sub(hole) % SLOTS {
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
