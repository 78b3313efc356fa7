//! The blocks of the last moment, which have no place in the live table yet.
//!
//! Most blocks are freed soon, and never come to the table at all. Those that stay are placed together: where a block
//! belongs is not in the processor's cache as a rule, and sixteen that are looked for at once take hardly longer than
//! one.

use crate::lanes::{LANES, Lanes};

/// Blocks that may be young. A block stays young until another one comes for its slot.
const YOUNG: usize = 64;

/// Blocks that are placed together.
pub(crate) const BATCH: usize = 16;

/// A block's address and its value in the table.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// 0 where there is none.
    pub(crate) pointer: u32,
    /// Context and size.
    pub(crate) value: u32,
}

impl Entry {
    /// No block.
    pub(crate) const NONE: Self = Self {
        pointer: 0,
        value: 0,
    };
}

#[repr(align(16))]
struct Keys([u32; BATCH]);

/// All zero at first.
pub(crate) struct Recent {
    young: [Entry; YOUNG],
    /// Those that were young, by address; 0 from `count` on.
    keys: Keys,
    values: [u32; BATCH],
    count: usize,
}

impl Recent {
    pub(crate) const fn new() -> Self {
        Self {
            young: [Entry::NONE; YOUNG],
            keys: Keys([0; BATCH]),
            values: [0; BATCH],
            count: 0,
        }
    }

    /// Keeps a block. False, and nothing done, when a batch has to be placed first.
    #[inline(always)]
    pub(crate) fn insert(&mut self, pointer: u32, value: u32) -> bool {
        if self.count == BATCH {
            return false;
        }
        let slot = &mut self.young[slot(pointer)];
        let old = core::mem::replace(slot, Entry { pointer, value });
        if old.pointer != 0 {
            self.push(old);
        }
        true
    }

    /// Takes a block out.
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

    /// A block's value, to be changed.
    pub(crate) fn find(&mut self, pointer: u32) -> Option<&mut u32> {
        if self.young[slot(pointer)].pointer == pointer {
            return Some(&mut self.young[slot(pointer)].value);
        }
        let at = self.position(pointer)?;
        self.values.get_mut(at)
    }

    /// The addresses of the batch.
    pub(crate) fn batch(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.0[..self.count.min(BATCH)].iter().copied()
    }

    /// Takes one out of the batch.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let at = self.count.checked_sub(1)? % BATCH;
        self.count = at;
        Some(Entry {
            pointer: core::mem::take(&mut self.keys.0[at]),
            value: self.values[at],
        })
    }

    /// Puts one into the batch, which must not be full.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: Entry) {
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

/// Blocks side by side have slots of their own; so have most of those that are a power of two apart.
#[inline(always)]
fn slot(pointer: u32) -> usize {
    let granule = pointer >> 4;
    (granule ^ granule >> 6) as usize % YOUNG
}
