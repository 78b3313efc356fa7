//! The live table: address of a block → its size and its context.
//!
//! A bucket takes half a cache line: four addresses, which one instruction compares, and four
//! values. A block is in its home bucket or in one of the next [`PROBE_LENGTH`]` - 1` buckets.
//! Blocks are never shifted, so nearly all branches are predictable. Blocks without a place wait in
//! a short list, which a search reads only after it has failed everywhere else.
//!
//! A block enters the buckets only when it is no longer [recent](crate::recent). `growth`
//! describes how the table grows.
//!
//! An entry takes 8 bytes, and the table is full at 7 of 10 entries: each live block costs 11.4 to
//! 22.9 bytes.

mod growth;
mod rehome;
mod table;

use crate::block::{Block, LiveEntry, MAX_PACKED_SIZE, pack_small, unpack_small};
use growth::BUCKETS_PER_OLD_HIT;
use table::lane;
pub use table::{Bucket, FIRST_BYTES, LAST_BYTES, LiveTable, PROBE_LENGTH, Region, Spill};

/// No valid value: contexts and sizes fill 32 bits.
const NOT_FOUND: u64 = u64::MAX;

impl<R: Region> LiveTable<R> {
    /// Adds a block to the recent ones.
    ///
    /// Returns false, and changes nothing, when more work is necessary: then the caller calls
    /// [`insert_slow`](Self::insert_slow).
    #[inline(always)]
    pub fn insert(&mut self, pointer: u32, size: u32, context: u32) -> bool {
        if self.inserts_left == 0 || size >= MAX_PACKED_SIZE {
            return false;
        }
        let kept = self.recent().insert(pointer, pack_small(size, context));
        self.inserts_left -= u32::from(kept);
        kept
    }

    /// Adds a block and does all due work: grows the table, places a batch, stores a large size.
    ///
    /// Returns false, and leaves the blocks as they were, when there is no place because the
    /// region's growth was refused.
    #[cold]
    #[inline(never)]
    pub fn insert_slow(&mut self, pointer: u32, size: u32, context: u32) -> bool {
        if let Some(value) = self.recent().remove_young(pointer) {
            self.note_reused(pointer, value);
        }
        if self.inserts_left == 0 && self.reserve > 0 {
            self.grow_step();
        }
        if self.inserts_left == 0 {
            self.double();
        }
        self.place_batch();
        if self.insert(pointer, size, context) {
            return true;
        }
        self.remove_reused(pointer);
        let Some(value) = self.pack(pointer, size, context) else {
            return false;
        };
        self.inserts_left = self.inserts_left.wrapping_sub(1);
        if self.place(pointer, value) || self.make_room(pointer, value) {
            return true;
        }
        self.unpack(pointer, value);
        // The block is not live, but counts towards the next try to grow.
        self.capacity = self.capacity.wrapping_sub(1);
        false
    }

    /// Places the batch of the recent blocks. Blocks for which there is no place stay in the batch.
    fn place_batch(&mut self) {
        let (entries, count) = self.recent().take_batch();
        let entries = &entries[..count];
        // Prefetches all of their buckets: none of these loads waits for another one.
        for entry in entries {
            let bucket = self.bucket(self.home(entry.pointer));
            // SAFETY: a bucket of the region.
            let values = unsafe { (&raw const (*bucket).values).read_volatile() };
            self.prefetch_sink = self.prefetch_sink.wrapping_add(values[0]);
        }
        for (placed, LiveEntry { pointer, value }) in entries.iter().enumerate() {
            // The batch is in order of age, so this removes the older one of two equal addresses.
            self.remove_reused(*pointer);
            if !self.place(*pointer, *value) && !self.make_room(*pointer, *value) {
                for entry in &entries[placed..] {
                    self.recent().push(*entry);
                }
                return;
            }
        }
    }

    /// Removes a block. `None` for an unknown address.
    #[inline(always)]
    pub fn remove(&mut self, pointer: u32) -> Option<Block> {
        let recent = self.recent().remove(pointer);
        let value = match recent.or_else(|| self.take_from(self.home(pointer), pointer)) {
            Some(value) => value,
            None => {
                let value = self.remove_slow(pointer);
                if value == NOT_FOUND {
                    return None;
                }
                value as u32
            }
        };
        self.inserts_left = self.inserts_left.wrapping_add(1);
        Some(self.unpack(pointer, value))
    }

    /// Searches everywhere but in the home bucket. Returns the value or [`NOT_FOUND`]: a `u64`
    /// travels in a register, an `Option` does not.
    #[cold]
    #[inline(never)]
    fn remove_slow(&mut self, pointer: u32) -> u64 {
        let home = self.home(pointer);
        let further =
            (home + 1..home + PROBE_LENGTH).find_map(|number| self.take_from(number, pointer));
        let found = further
            .or_else(|| self.remove_unmoved(pointer))
            .or_else(|| self.remove_waiting(pointer));
        found.map_or(NOT_FOUND, u64::from)
    }

    /// The size of a block. `None` for an unknown address.
    pub fn size(&mut self, pointer: u32) -> Option<u32> {
        let recent = self.recent().find(pointer).map(|value| *value);
        let value = match recent {
            Some(value) => value,
            None => {
                let home = self.home(pointer);
                let buckets = (home..home + PROBE_LENGTH).chain(self.old_buckets(pointer));
                let mut hits = buckets.filter_map(|number| self.find_in(number, pointer));
                let in_bucket = hits.next().map(|(bucket, hits)| {
                    // SAFETY: a bucket of the region; no other reference to it lives.
                    let values = unsafe { &(*bucket).values };
                    values[lane(hits) % values.len()]
                });
                in_bucket.or_else(|| self.find_waiting(pointer))?
            }
        };
        let size = unpack_small(value).size;
        Some(if size == MAX_PACKED_SIZE {
            self.spill().large.get(pointer)
        } else {
            size
        })
    }

    /// Changes the size and context of a block in place and returns the old ones. `None`, and no
    /// change, for an unknown address.
    pub fn replace(&mut self, pointer: u32, size: u32, context: u32) -> Option<Block> {
        if let Some(value) = self.recent().find(pointer) {
            let old = *value;
            let old = self.unpack(pointer, old);
            let new = self.pack(pointer, size, context)?;
            *self.recent().find(pointer)? = new;
            return Some(old);
        }
        let home = self.home(pointer);
        let find = |number| self.find_in(number, pointer);
        let found = (home..home + PROBE_LENGTH).find_map(find);
        let (bucket, hits) = match found {
            Some(found) => found,
            None => {
                // The move must also end when the guest only resizes blocks.
                self.move_buckets(BUCKETS_PER_OLD_HIT);
                (home..home + PROBE_LENGTH)
                    .chain(self.old_buckets(pointer))
                    .find_map(|number| self.find_in(number, pointer))?
            }
        };
        // SAFETY: a bucket of the region.
        let bucket = unsafe { &mut *bucket };
        // SAFETY: a hit's bits are not 0, so the lane is below LANES.
        let value = unsafe { bucket.values.get_unchecked_mut(lane(hits)) };
        let old = self.unpack(pointer, *value);
        // A large size fits: either `unpack` has just removed this block's own, or the address
        // space cannot hold more large blocks.
        *value = self.pack(pointer, size, context)?;
        Some(old)
    }

    /// Changes the context of a recent small block and returns the old size and context. `None`,
    /// and no change, for every other block.
    #[inline(always)]
    pub fn set_context_of_recent(&mut self, pointer: u32, context: u32) -> Option<Block> {
        let value = self.recent().find(pointer)?;
        let block = unpack_small(*value);
        if block.size == MAX_PACKED_SIZE {
            return None;
        }
        *value = pack_small(block.size, context);
        Some(block)
    }
}
