//! The live table: address of a block → its size and its context.
//!
//! Buckets of half a cache line: four addresses, compared at once, and four values. A block lives in
//! its home bucket or in one of the next [`PROBE`]` - 1`; nothing is ever shifted, so there is
//! hardly a branch that cannot be predicted. Blocks that find no place wait in a short list, which
//! is looked at only when an address is found nowhere else.
//!
//! A block comes to the table only when it is not [recent](crate::recent) any more. How it [grows](growth) is a matter of
//! its own.
//!
//! An entry is 8 bytes, and the table is full at 7 of 10: 11.4 to 22.9 bytes for each live block.

mod growth;

use crate::contexts::CONTEXT_BITS;
use crate::lanes::{LANES, Lanes};
use crate::large::LargeSizes;
use crate::recent::{BATCH, Entry, Recent};
use growth::{MOVE_ON_SEARCH, READY_SHARE};

/// Sizes up to here, exclusive, stand in the entry itself.
pub const MAX_PACKED_SIZE: u32 = (1 << SIZE_BITS) - 1;

/// Buckets that are searched for an address. With few, there are block sizes under which the hash
/// fills buckets so unevenly that blocks find no place; with 32, none up to 2,000.
pub const PROBE: usize = 32;

/// Blocks that may wait for a place.
const WAITING: usize = 1024;

const SIZE_BITS: u32 = 32 - CONTEXT_BITS;
/// Few, since an idle guest has few blocks, and they lie all over the table: each page of it that is touched is memory.
const FIRST_BITS: u32 = 7;
const LAST_BITS: u32 = 25;

/// Bytes of the table before it first grows.
pub const FIRST_BYTES: usize = bytes_for(1 << FIRST_BITS);

/// Bytes of the table when it grows no more.
pub const LAST_BYTES: usize = bytes_for(1 << LAST_BITS);

/// No value: contexts and sizes fill 32 bits.
const NOT_THERE: u64 = u64::MAX;

/// Four blocks: half a cache line.
#[repr(C, align(32))]
pub struct Bucket {
    /// Addresses; 0 where there is room.
    keys: Lanes,
    /// Context and size of each.
    values: [u32; LANES],
}

/// Where the buckets lie.
///
/// # Safety
///
/// `base` never changes, is aligned as a [`Bucket`], and at least [`FIRST_BYTES`] from there, and
/// as many as `ensure` has said yes to, are readable, writable, used by nobody else, and zero
/// before their first use.
pub unsafe trait Region {
    /// The first bucket.
    fn base(&self) -> *mut Bucket;
    /// Makes the region at least `bytes` long; false when that is refused.
    fn ensure(&mut self, bytes: usize) -> bool;
}

/// What does not fit into the buckets. Apart from the table, since all of it is zero at first and
/// so takes no place in the runtime's binary.
pub struct Spill {
    waiting: [Entry; WAITING],
    large: LargeSizes,
    recent: Recent,
}

impl Spill {
    /// Nothing spilt.
    pub const fn new() -> Self {
        Self {
            waiting: [Entry::NONE; WAITING],
            large: LargeSizes::new(),
            recent: Recent::new(),
        }
    }
}

impl Default for Spill {
    fn default() -> Self {
        Self::new()
    }
}

/// A block as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Bytes, as they were asked for.
    pub size: u32,
    /// Index of the context it belongs to.
    pub context: u32,
}

/// Address → [`Block`].
pub struct LiveTable<R> {
    region: R,
    /// 32 less the bits of a bucket's number.
    shift: u32,
    /// Blocks that may come before there is something to do.
    left: u32,
    /// Those that may come after that before the table grows, a few at a time.
    reserve: u32,
    /// `left` and `reserve` of an empty table.
    limit: u32,
    /// Buckets below this have not moved yet since the table last doubled.
    unmoved: usize,
    /// Bytes from the region's start that have been made ready: none of the memory that is still to come if it is less
    /// than the table takes.
    ready: usize,
    waiting: usize,
    dropped: u64,
    /// Nothing that matters: what is read ahead must be used.
    touched: u32,
    spill: *mut Spill,
}

const fn bytes_for(buckets: usize) -> usize {
    (buckets + PROBE) * size_of::<Bucket>()
}

const fn limit_for(buckets: usize) -> u32 {
    (buckets * LANES / 10 * 7) as u32
}

impl<R: Region> LiveTable<R> {
    /// An empty table.
    ///
    /// # Safety
    ///
    /// `spill` outlives the table and is used by nobody else.
    pub const unsafe fn new(region: R, spill: *mut Spill) -> Self {
        Self {
            region,
            shift: 32 - FIRST_BITS,
            left: limit_for(1 << FIRST_BITS) - limit_for(1 << FIRST_BITS) / READY_SHARE,
            reserve: limit_for(1 << FIRST_BITS) / READY_SHARE,
            limit: limit_for(1 << FIRST_BITS),
            unmoved: 0,
            ready: 0,
            waiting: 0,
            dropped: 0,
            touched: 0,
            spill,
        }
    }

    /// Blocks that found no place while the table grew, since this was last asked: none, as far as
    /// tests can tell.
    pub fn take_dropped(&mut self) -> u64 {
        core::mem::take(&mut self.dropped)
    }

    /// Blocks that found no bucket and wait for one.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Buckets that have not moved yet since the table last doubled.
    pub fn unmoved(&self) -> usize {
        self.unmoved
    }

    /// Bytes that the table may take before it meets memory that nothing has been written to yet.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Where the buckets lie.
    pub fn region_mut(&mut self) -> &mut R {
        &mut self.region
    }

    /// Bytes that the buckets take.
    pub fn bytes(&self) -> usize {
        bytes_for(1 << (32 - self.shift))
    }

    /// Keeps a block. False, and nothing done, when that takes more than putting it among the recent ones:
    /// then [`insert_slowly`](Self::insert_slowly) is to be called.
    #[inline(always)]
    pub fn insert(&mut self, pointer: u32, size: u32, context: u32) -> bool {
        if self.left == 0 || size >= MAX_PACKED_SIZE {
            return false;
        }
        let kept = self.recent().insert(pointer, pack_small(size, context));
        self.left -= u32::from(kept);
        kept
    }

    /// Keeps a block, whatever that takes. False when there is no place for it, which means that
    /// the region's growth was refused; then nothing has changed.
    #[cold]
    #[inline(never)]
    pub fn insert_slowly(&mut self, pointer: u32, size: u32, context: u32) -> bool {
        if self.left == 0 && self.reserve > 0 {
            self.grow_on();
        }
        if self.left == 0 {
            self.grow();
        }
        self.place_batch();
        if self.insert(pointer, size, context) {
            return true;
        }
        let Some(value) = self.pack(pointer, size, context) else {
            return false;
        };
        self.left = self.left.wrapping_sub(1);
        if self.place(pointer, value) || self.make_room(pointer, value) {
            return true;
        }
        self.unpack(pointer, value);
        // It is not live, but counts towards the next try to grow.
        self.limit = self.limit.wrapping_sub(1);
        false
    }

    /// Gives the oldest of the recent blocks their places; those for which there is none stay where they are.
    fn place_batch(&mut self) {
        let mut pointers = [0; BATCH];
        let mut count = 0;
        for (place, pointer) in pointers.iter_mut().zip(self.recent().batch()) {
            *place = pointer;
            count += 1;
        }
        // All of their buckets at once: none of these loads waits for another.
        for pointer in &pointers[..count] {
            let bucket = self.bucket(self.home(*pointer));
            // SAFETY: a bucket of the region.
            let values = unsafe { (&raw const (*bucket).values).read_volatile() };
            self.touched = self.touched.wrapping_add(values[0]);
        }
        while let Some(entry) = self.recent().pop() {
            let Entry { pointer, value } = entry;
            if !self.place(pointer, value) && !self.make_room(pointer, value) {
                self.recent().push(entry);
                return;
            }
        }
    }

    /// Takes a block out. `None` when the address is not in the table.
    #[inline(always)]
    pub fn remove(&mut self, pointer: u32) -> Option<Block> {
        let recent = self.recent().remove(pointer);
        let value = match recent.or_else(|| self.take_from(self.home(pointer), pointer)) {
            Some(value) => value,
            None => {
                let value = self.remove_slowly(pointer);
                if value == NOT_THERE {
                    return None;
                }
                value as u32
            }
        };
        self.left = self.left.wrapping_add(1);
        Some(self.unpack(pointer, value))
    }

    /// Anywhere but in its home bucket. Returns the value or [`NOT_THERE`], which travels in a
    /// register, as an `Option` would not.
    #[cold]
    #[inline(never)]
    fn remove_slowly(&mut self, pointer: u32) -> u64 {
        let home = self.home(pointer);
        let further = (home + 1..home + PROBE).find_map(|number| self.take_from(number, pointer));
        let found = further
            .or_else(|| self.remove_unmoved(pointer))
            .or_else(|| self.remove_waiting(pointer));
        found.map_or(NOT_THERE, u64::from)
    }

    /// Gives a block another size and context, in place, and returns what it was. `None`, and
    /// nothing done, when the address is not in the table.
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
        let found = (home..home + PROBE).find_map(find);
        let (bucket, hits) = match found {
            Some(found) => found,
            None => {
                // So that it ends, even if blocks only change.
                self.move_some(MOVE_ON_SEARCH);
                (home..home + PROBE)
                    .chain(self.before_moving(pointer))
                    .find_map(|number| self.find_in(number, pointer))?
            }
        };
        // SAFETY: a bucket of the region.
        let bucket = unsafe { &mut *bucket };
        // SAFETY: a hit's bits are not 0, so the lane is below LANES.
        let value = unsafe { bucket.values.get_unchecked_mut(lane(hits)) };
        let old = self.unpack(pointer, *value);
        // There is room for a large size: either this block's own has just gone, or the address
        // space cannot hold more of them.
        *value = self.pack(pointer, size, context)?;
        Some(old)
    }

    /// Gives a small block that has just come another context, and returns what it was. `None`, and nothing done, when
    /// it is not one of those.
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

    #[inline(always)]
    fn home(&self, pointer: u32) -> usize {
        home_at(pointer, self.shift)
    }

    #[inline(always)]
    fn bucket(&self, number: usize) -> *mut Bucket {
        debug_assert!(number < (1 << (32 - self.shift)) + PROBE);
        // SAFETY: callers pass a home plus at most PROBE - 1, which `bytes_for` counts in.
        unsafe { self.region.base().add(number) }
    }

    #[inline(always)]
    fn find_in(&self, number: usize, pointer: u32) -> Option<(*mut Bucket, Lanes)> {
        let bucket = self.bucket(number);
        // SAFETY: a bucket of the region.
        let hits = unsafe { &*bucket }.keys.equal(Lanes::splat(pointer));
        (hits.bits() != 0).then_some((bucket, hits))
    }

    #[inline(always)]
    fn take_from(&mut self, number: usize, pointer: u32) -> Option<u32> {
        let (bucket, hits) = self.find_in(number, pointer)?;
        // SAFETY: a bucket of the region.
        let bucket = unsafe { &mut *bucket };
        // The whole vector: a narrow store would stall the next comparison of this bucket.
        bucket.keys = bucket.keys.clear(hits, pointer);
        // SAFETY: a hit's bits are not 0, so the lane is below LANES.
        Some(unsafe { *bucket.values.get_unchecked(lane(hits)) })
    }

    #[inline(always)]
    fn place_in(&mut self, number: usize, pointer: u32, value: u32) -> bool {
        // SAFETY: a bucket of the region.
        let bucket = unsafe { &mut *self.bucket(number) };
        let free = bucket.keys.equal(Lanes::splat(0));
        if free.bits() == 0 {
            return false;
        }
        let lane = lane(free);
        bucket.keys = bucket.keys.fill(lane as u32, pointer);
        // SAFETY: a hit's bits are not 0, so the lane is below LANES.
        unsafe { *bucket.values.get_unchecked_mut(lane) = value };
        true
    }

    fn place(&mut self, pointer: u32, value: u32) -> bool {
        let home = self.home(pointer);
        (home..home + PROBE).any(|number| self.place_in(number, pointer, value))
    }

    #[inline(always)]
    fn pack(&mut self, pointer: u32, size: u32, context: u32) -> Option<u32> {
        let size = if size < MAX_PACKED_SIZE {
            size
        } else if self.spill().large.insert(pointer, size) {
            MAX_PACKED_SIZE
        } else {
            return None;
        };
        Some(pack_small(size, context))
    }

    #[inline(always)]
    fn unpack(&mut self, pointer: u32, value: u32) -> Block {
        let mut block = unpack_small(value);
        if block.size == MAX_PACKED_SIZE {
            block.size = self.spill().large.remove(pointer);
        }
        block
    }

    #[inline(always)]
    fn recent(&mut self) -> &mut Recent {
        &mut self.spill().recent
    }

    #[inline(always)]
    fn spill(&mut self) -> &mut Spill {
        // SAFETY: by the contract of `new`, valid and only ours; borrowed through `&mut self`.
        unsafe { &mut *self.spill }
    }

    fn push_waiting(&mut self, pointer: u32, value: u32) -> bool {
        let at = self.waiting;
        let Some(entry) = self.spill().waiting.get_mut(at) else {
            return false;
        };
        *entry = Entry { pointer, value };
        self.waiting += 1;
        true
    }

    fn remove_waiting(&mut self, pointer: u32) -> Option<u32> {
        let count = self.waiting;
        let waiting = self.spill().waiting.get_mut(..count)?;
        let at = waiting.iter().position(|entry| entry.pointer == pointer)?;
        let value = waiting[at].value;
        waiting[at] = waiting[count - 1];
        self.waiting -= 1;
        Some(value)
    }
}

/// An entry's value.
#[inline(always)]
const fn pack_small(size: u32, context: u32) -> u32 {
    context << SIZE_BITS | size
}

/// What an entry's value says; a size of [`MAX_PACKED_SIZE`] stands elsewhere.
#[inline(always)]
const fn unpack_small(value: u32) -> Block {
    Block {
        size: value & MAX_PACKED_SIZE,
        context: value >> SIZE_BITS,
    }
}

/// Fibonacci hashing; blocks are aligned to 8 at least. Blocks side by side come to lie far apart: a cache miss for each
/// that stays, which is why they are placed many at once. Hashing 256 bytes at once would save half of those, but there
/// are ways to lay out a heap under which a thousand blocks then find no place.
#[inline(always)]
fn home_at(pointer: u32, shift: u32) -> usize {
    ((pointer >> 3).wrapping_mul(0x9E37_79B1) >> shift) as usize
}

/// The first lane that a comparison has hit; it must have hit one.
#[inline(always)]
fn lane(hits: Lanes) -> usize {
    hits.bits().trailing_zeros() as usize
}
