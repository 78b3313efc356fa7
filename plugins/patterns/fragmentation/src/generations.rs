//! Records in generations, each of records twice as large as those of the one before.
//!
//! How the holes come to be too small, in sizes of a block with its header: when generation `k` begins,
//! the blocks of every older one lie `2^(k-1)` smallest blocks apart. While it fills, every other one of
//! them goes, so they come to lie `2^k` apart, with less than that between them: no hole takes a block of
//! generation `k`. It needs as much fresh memory as it has bytes, and half of what is live is replaced.
//! How much worse than this it can get is the subject of Robson, "Bounds for some functions concerning
//! dynamic storage allocation" (Journal of the ACM 21, 1974).

use std::collections::VecDeque;

use leak_plugin_sdk::{Container, HeapSize, Payload, Retention};

/// The smallest block, with what the allocator adds to it.
const SMALLEST_BLOCK: usize = 512;

/// The allocator's header, rounded up: 4 bytes on wasm32, and blocks are multiples of 8.
const HEADER: usize = 8;

/// Generations from 512 bytes to 128 KiB.
const LAST_GENERATION: u32 = 8;

/// Records that may be dropped before one is made.
const DROPS: usize = 8192;

/// Something that is kept for a while.
#[derive(Debug)]
pub(crate) enum Record {
    /// The bug, in a program that runs for long: one block as large as the record happens to be.
    Whole(Payload),
    /// Blocks of one size, as many as it takes.
    Chunked(Vec<Payload>),
}

impl Record {
    /// A record of so many bytes in one block.
    pub(crate) fn in_one_piece(bytes: usize, seed: u64) -> Self {
        Self::Whole(Payload::new(bytes, seed))
    }

    /// A record of at least so many bytes in chunks.
    pub(crate) fn in_chunks(bytes: usize, seed: u64) -> Self {
        let chunks = bytes.div_ceil(SMALLEST_BLOCK);
        let chunk = |_| Payload::new(SMALLEST_BLOCK - HEADER, seed);
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

/// All records, by the generation they are of.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    /// From the oldest generation to the one that fills; in each, records lie as in memory.
    all: Vec<Generation>,
    /// The one whose records are being thinned out.
    thinning: usize,
    records: usize,
    records_bytes: usize,
}

#[derive(Debug, Default)]
struct Generation {
    records: VecDeque<Record>,
    /// Pairs of neighbours of which one is still to go.
    pairs: usize,
}

impl Generations {
    /// Drops records until one more fits into `live_bytes`, and says how large it is to be. None when
    /// there is more to drop than is done at a time.
    pub(crate) fn make_room(&mut self, live_bytes: usize) -> Option<usize> {
        for _ in 0..DROPS {
            let bytes = self.record_bytes();
            if self.bytes() + bytes <= live_bytes {
                return Some(bytes);
            }
            if !self.drop_one_of_a_pair() {
                self.begin_generation();
            }
        }
        None
    }

    /// Adds a record to the generation that fills.
    pub(crate) fn keep(&mut self, record: Record) {
        self.records += 1;
        self.records_bytes += record.heap_bytes();
        if self.all.is_empty() {
            self.all.push(Generation::default());
        }
        if let Some(filling) = self.all.last_mut() {
            filling.records.push_back(record);
        }
    }

    /// The records and what they take up.
    pub(crate) fn retained(&self) -> Retention {
        Retention::of(self.records, self.bytes())
    }

    /// There are nine lists at most.
    fn bytes(&self) -> usize {
        let lists: usize = self.all.iter().map(|one| one.records.block_bytes()).sum();
        self.records_bytes + self.all.block_bytes() + lists
    }

    /// What a record of the generation that fills has.
    fn record_bytes(&self) -> usize {
        let generation = self.all.len().saturating_sub(1);
        (SMALLEST_BLOCK << generation) - HEADER
    }

    /// Drops one record of the next two, and passes over the other. False when all are thinned out.
    fn drop_one_of_a_pair(&mut self) -> bool {
        while let Some(generation) = self.all.get_mut(self.thinning) {
            if generation.pairs == 0 {
                self.thinning += 1;
                continue;
            }
            generation.pairs -= 1;
            if let Some(dropped) = generation.records.pop_front() {
                self.records -= 1;
                self.records_bytes -= dropped.heap_bytes();
            }
            if let Some(kept) = generation.records.pop_front() {
                generation.records.push_back(kept);
            }
            generation.records.shrink_sparse();
            return true;
        }
        false
    }

    /// Begins with larger records, up to the largest, and with thinning out what there is.
    fn begin_generation(&mut self) {
        for generation in &mut self.all {
            // Of a single one that is left, too: or the oldest would never go.
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

    /// Replaces records until the next generation begins. How many there were of each just before.
    fn fill_generation(records: &mut Generations) -> Vec<usize> {
        let generations = records.all.len().max(1);
        loop {
            let counts = records.all.iter().map(|one| one.records.len()).collect();
            let bytes = records.make_room(MIB).unwrap();
            if records.all.len() > generations {
                return counts;
            }
            records.keep(Record::in_one_piece(bytes, 1));
        }
    }

    #[test]
    fn each_generation_halves_those_before_it() {
        let mut records = Generations::default();
        let mut counts = fill_generation(&mut records);
        assert!((1800..=2080).contains(&counts[0]), "{counts:?}");
        for generation in 1..=5 {
            let now = fill_generation(&mut records);
            assert_eq!(now.len(), generation + 1, "{now:?}");
            for (before, now) in counts.iter().zip(&now) {
                assert!(now.abs_diff(before / 2) <= 1, "{before} {now}");
            }
            // What has come is as much as what has gone, and the lists got shorter.
            let newest = now[generation] * (SMALLEST_BLOCK << generation);
            assert!((MIB * 2 / 5..MIB * 3 / 5).contains(&newest), "{now:?}");
            counts = now;
        }
    }

    #[test]
    fn what_is_live_stays_the_same_to_the_last_generation_and_beyond() {
        let mut records = Generations::default();
        fill_generation(&mut records);
        let largest = SMALLEST_BLOCK << LAST_GENERATION;
        for _ in 0..5000 {
            let bytes = records.make_room(MIB).unwrap();
            records.keep(Record::in_one_piece(bytes, 1));
            let live = records.bytes();
            assert!(live.abs_diff(MIB) < 2 * largest, "{live}");
        }
        assert_eq!(records.all.len(), LAST_GENERATION as usize + 1);
    }
}
