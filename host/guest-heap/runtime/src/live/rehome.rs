//! Gives a block another context.

use super::table::lane;
use super::{LiveTable, PROBE_LENGTH, Region};
use crate::block::{Block, MAX_PACKED_SIZE, pack_small, unpack_small};

impl<R: Region> LiveTable<R> {
    /// Changes the context of a small block in the buckets and returns the old size and context.
    /// `None`, and no change, for every other block.
    pub fn set_context(&mut self, pointer: u32, context: u32) -> Option<Block> {
        let home = self.home(pointer);
        let (bucket, hits) = (home..home + PROBE_LENGTH)
            .chain(self.old_buckets(pointer))
            .find_map(|number| self.find_in(number, pointer))?;
        // SAFETY: a bucket of the region.
        let bucket = unsafe { &mut *bucket };
        // SAFETY: a hit's bits are not 0, so the lane is below LANES.
        let value = unsafe { bucket.values.get_unchecked_mut(lane(hits)) };
        let block = unpack_small(*value);
        if block.size == MAX_PACKED_SIZE {
            return None;
        }
        *value = pack_small(block.size, context);
        Some(block)
    }
}
