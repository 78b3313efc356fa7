//! The starts of live blocks, by address, to find the blocks that a new block overlaps.
//!
//! Two live blocks never overlap. If the allocator hands out memory of a block that counts as live,
//! that block was freed where no hook saw it. So in a module whose frees are not all seen, an
//! overlap tells that a block is free, and live bytes never exceed the memory of the heap.
//!
//! A bit stands for 8 bytes of memory. The map covers 64 MiB; addresses that are further apart can
//! share a bit. A bit only says where to look, and the live table decides. If two blocks share a
//! bit, removing one can hide the other: then an overlap is missed and live bytes stay too large.

/// Bytes that a bit stands for.
const GRANULE: u32 = 8;

/// Words of the map: 1 MiB.
const WORDS: usize = 1 << 17;

const BITS: u32 = u64::BITS;

/// Bits whose blocks a search backwards checks. The nearest live block is usually the first one.
const MAX_CHECKS: u32 = 16;

/// Which granules contain the start of a live block.
pub struct Starts {
    words: [u64; WORDS],
    /// The largest size of a block so far: how far back a search has to go.
    largest: u32,
    /// Whether the address of a block was not a multiple of the granule. Then several blocks can
    /// start in one granule.
    is_dense: bool,
}

impl Starts {
    /// An empty map, all zero, so that it takes no space in the runtime's binary.
    pub const fn new() -> Self {
        Self {
            words: [0; WORDS],
            largest: 0,
            is_dense: false,
        }
    }

    /// Adds a block.
    pub fn insert(&mut self, pointer: u32, size: u32) {
        let granule = pointer / GRANULE;
        self.words[word(granule)] |= bit(granule);
        self.largest = self.largest.max(size);
        self.is_dense |= !pointer.is_multiple_of(GRANULE);
    }

    /// Removes a block. In a dense map the bit stays, since it can stand for other blocks, too.
    pub fn remove(&mut self, pointer: u32) {
        if !self.is_dense {
            self.clear(pointer / GRANULE);
        }
    }

    /// The address of a live block that overlaps the block at `pointer`, if there is one. The
    /// caller removes it and asks again. `size_of` returns the size of a live block.
    pub fn overlapped(
        &mut self,
        pointer: u32,
        size: u32,
        mut size_of: impl FnMut(u32) -> Option<u32>,
    ) -> Option<u32> {
        let after = self.after(pointer, size, &mut size_of);
        after.or_else(|| self.before(pointer, &mut size_of))
    }

    /// The address of a live block that starts in the block at `pointer`, like
    /// [`overlapped`](Self::overlapped).
    pub fn after(
        &mut self,
        pointer: u32,
        size: u32,
        mut size_of: impl FnMut(u32) -> Option<u32>,
    ) -> Option<u32> {
        let last = pointer.saturating_add(size.max(1) - 1);
        let mut granule = pointer / GRANULE;
        while granule <= last / GRANULE {
            let word = self.words[word(granule)] >> (granule % BITS);
            if word == 0 {
                granule = (granule / BITS + 1) * BITS;
                continue;
            }
            granule += word.trailing_zeros();
            if granule > last / GRANULE {
                return None;
            }
            if let Some((start, _)) = self.block_in(granule, &mut size_of) {
                if (pointer..=last).contains(&start) {
                    return Some(start);
                }
            } else {
                self.clear(granule);
            }
            granule += 1;
        }
        None
    }

    /// The live block that starts before `pointer` and ends behind it.
    fn before(
        &mut self,
        pointer: u32,
        size_of: &mut impl FnMut(u32) -> Option<u32>,
    ) -> Option<u32> {
        let first = pointer.saturating_sub(self.largest) / GRANULE;
        let mut granule = pointer / GRANULE;
        let mut checks = 0;
        while granule > first && checks < MAX_CHECKS {
            // The granules below this one, in the same word.
            let below = granule - 1;
            let word = self.words[word(below)] << (BITS - 1 - below % BITS);
            if word == 0 {
                granule = below / BITS * BITS;
                continue;
            }
            granule = below - word.leading_zeros();
            checks += 1;
            match self.block_in(granule, size_of) {
                Some((start, size)) => {
                    return (start < pointer && size > pointer - start).then_some(start);
                }
                None => self.clear(granule),
            }
        }
        None
    }

    /// The last live block that starts in a granule, and its size.
    fn block_in(
        &self,
        granule: u32,
        size_of: &mut impl FnMut(u32) -> Option<u32>,
    ) -> Option<(u32, u32)> {
        let first = granule * GRANULE;
        if !self.is_dense {
            return Some((first, size_of(first)?));
        }
        let mut starts = (first..=first + (GRANULE - 1)).rev();
        starts.find_map(|start| Some((start, size_of(start)?)))
    }

    fn clear(&mut self, granule: u32) {
        self.words[word(granule)] &= !bit(granule);
    }
}

impl Default for Starts {
    fn default() -> Self {
        Self::new()
    }
}

fn word(granule: u32) -> usize {
    (granule / BITS) as usize % WORDS
}

fn bit(granule: u32) -> u64 {
    1 << (granule % BITS)
}
