//! Records in generations. The records of each generation are twice as large as those of the one
//! before.
//!
//! This is why the holes are too small. All sizes here include the block's header, and the unit is
//! the smallest block. When generation `k` starts, the blocks of all older generations are
//! `2^(k-1)` apart. While generation `k` fills, every other old block is freed, so the blocks are
//! `2^k` apart in the end and each hole between them is smaller than that. No hole fits a block of
//! generation `k`. The generation replaces half of the live bytes and takes all of its memory
//! fresh.
//!
//! Robson gives the worst case: "Bounds for some functions concerning dynamic storage allocation"
//! (Journal of the ACM 21, 1974).

use std::collections::VecDeque;

use leak_plugin_sdk::{Container, HeapSize, Payload, Retention};

/// The size of the smallest block, including the allocator's header.
const MIN_BLOCK_BYTES: usize = 512;

/// The allocator's header, rounded up: 4 bytes on wasm32, and block sizes are multiples of 8.
const BLOCK_HEADER_BYTES: usize = 8;

/// The index of the last generation: block sizes go from 512 bytes to 128 KiB.
const LAST_GENERATION: u32 = 8;

/// The number of records that one call of [`Generations::make_room`] may drop.
const MAX_DROPS_PER_CALL: usize = 8192;

/// A record in one of the two layouts.
#[derive(Debug)]
pub(crate) enum Record {
    /// The bug in a long-running program: one block with the size of the record.
    Whole(Payload),
    /// The fix: as many blocks of one size as the record needs.
    Chunked(Vec<Payload>),
}

impl Record {
    /// A record of `bytes` in one block.
    pub(crate) fn in_one_block(bytes: usize, seed: u64) -> Self {
        Self::Whole(Payload::new(bytes, seed))
    }

    /// A record of at least `bytes`, in chunks of one size.
    pub(crate) fn in_chunks(bytes: usize, seed: u64) -> Self {
        let chunks = bytes.div_ceil(MIN_BLOCK_BYTES);
        let chunk = |_| Payload::new(MIN_BLOCK_BYTES - BLOCK_HEADER_BYTES, seed);
        Self::Chunked((0..chunks).map(chunk).collect())
    }
}

impl HeapSize for Record {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Whole(block) => block.heap_bytes(),
            Self::Chunked(chunks) => chunks.heap_bytes(),
        }
    }
}

/// All live records by generation.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    /// Oldest generation first; the last one is filling. Within a generation, the records have the
    /// same order as in memory.
    all: Vec<Generation>,
    /// The index of the generation that is being thinned out.
    thinning: usize,
    records: usize,
    /// Heap bytes that all records own.
    owned_bytes: usize,
}

#[derive(Debug, Default)]
struct Generation {
    records: VecDeque<Record>,
    /// The number of neighbouring pairs that still have to lose one record.
    pairs: usize,
}

impl Generations {
    /// Drops records until another one fits into `live_bytes`, and returns the size of that record.
    /// Returns `None` after [`MAX_DROPS_PER_CALL`] drops without enough room.
    pub(crate) fn make_room(&mut self, live_bytes: usize) -> Option<usize> {
        for _ in 0..MAX_DROPS_PER_CALL {
            let bytes = self.record_bytes();
            if self.bytes() + bytes <= live_bytes {
                return Some(bytes);
            }
            if !self.drop_one_of_pair() {
                self.start_generation();
            }
        }
        None
    }

    /// Adds a record to the generation that is filling.
    pub(crate) fn keep(&mut self, record: Record) {
        self.records += 1;
        self.owned_bytes += record.heap_bytes();
        if self.all.is_empty() {
            self.all.push(Generation::default());
        }
        if let Some(filling) = self.all.last_mut() {
            filling.records.push_back(record);
        }
    }

    /// The number of records, and the bytes that they and the lists own.
    pub(crate) fn retained(&self) -> Retention {
        Retention::of(self.records, self.bytes())
    }

    /// Takes constant time, because there are at most nine lists.
    fn bytes(&self) -> usize {
        let lists: usize = self.all.iter().map(|one| one.records.block_bytes()).sum();
        self.owned_bytes + self.all.block_bytes() + lists
    }

    /// The size of a record in the generation that is filling.
    fn record_bytes(&self) -> usize {
        let generation = self.all.len().saturating_sub(1);
        (MIN_BLOCK_BYTES << generation) - BLOCK_HEADER_BYTES
    }

    /// Drops one record of the next pair and keeps the other. Returns `false` if no pair is left.
    fn drop_one_of_pair(&mut self) -> bool {
        while let Some(generation) = self.all.get_mut(self.thinning) {
            if generation.pairs == 0 {
                self.thinning += 1;
                continue;
            }
            generation.pairs -= 1;
            if let Some(dropped) = generation.records.pop_front() {
                self.records -= 1;
                self.owned_bytes -= dropped.heap_bytes();
            }
            if let Some(kept) = generation.records.pop_front() {
                generation.records.push_back(kept);
            }
            generation.records.shrink_sparse();
            return true;
        }
        false
    }

    /// Starts a generation of larger records, or continues with the largest size, and starts to
    /// thin out all existing generations.
    fn start_generation(&mut self) {
        for generation in &mut self.all {
            // Rounds up, so that the last record of a generation is dropped too.
            generation.pairs = generation.records.len().div_ceil(2);
        }
        self.thinning = 0;
        if self.all.len() <= LAST_GENERATION as usize {
            self.all.push(Generation::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// Replaces records until the next generation starts. Returns the number of records in each
    /// generation just before that.
    fn fill_generation(records: &mut Generations) -> Vec<usize> {
        let generations = records.all.len().max(1);
        loop {
            let counts = records.all.iter().map(|one| one.records.len()).collect();
            let bytes = records.make_room(MIB).unwrap();
            if records.all.len() > generations {
                return counts;
            }
            records.keep(Record::in_one_block(bytes, 1));
        }
    }

    #[test]
    fn each_generation_halves_the_older_ones() {
        let mut records = Generations::default();
        let mut counts = fill_generation(&mut records);
        assert!((1800..=2080).contains(&counts[0]), "{counts:?}");
        for generation in 1..=5 {
            let now = fill_generation(&mut records);
            assert_eq!(now.len(), generation + 1, "{now:?}");
            for (before, now) in counts.iter().zip(&now) {
                assert!(now.abs_diff(before / 2) <= 1, "{before} {now}");
            }
            // The newest generation replaced about half of the live bytes.
            let newest = now[generation] * (MIN_BLOCK_BYTES << generation);
            assert!((MIB * 2 / 5..MIB * 3 / 5).contains(&newest), "{now:?}");
            counts = now;
        }
    }

    #[test]
    fn live_bytes_stay_the_same_up_to_the_last_generation_and_after_it() {
        let mut records = Generations::default();
        fill_generation(&mut records);
        let largest = MIN_BLOCK_BYTES << LAST_GENERATION;
        for _ in 0..5000 {
            let bytes = records.make_room(MIB).unwrap();
            records.keep(Record::in_one_block(bytes, 1));
            let live = records.bytes();
            assert!(live.abs_diff(MIB) < 2 * largest, "{live}");
        }
        assert_eq!(records.all.len(), LAST_GENERATION as usize + 1);
    }
}
