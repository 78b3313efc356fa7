//! The buckets of the live table, and the operations on single buckets.

use crate::block::{Block, LiveEntry, MAX_PACKED_SIZE, pack_small, unpack_small};
use crate::lanes::{LANES, Lanes};
use crate::large::LargeSizes;
use crate::recent::Recent;

/// Buckets that a search for an address visits. A small number is not enough: for some block sizes
/// the hash fills the buckets so unevenly that blocks find no place. With 32 this happens for no
/// size up to 2,000 bytes.
pub const PROBE_LENGTH: usize = 32;

/// Blocks that the waiting list holds.
pub(super) const MAX_WAITING: usize = 1024;

/// Reused blocks that one insert can report. An insert that finds more leaves the others in the
/// table.
const MAX_REUSED: usize = 64;

/// Bits of the first table's bucket numbers. The first table is small because an idle guest has few
/// blocks, and they are spread over the whole table: each page that they touch costs memory.
const FIRST_BITS: u32 = 7;

/// Bits of the largest table's bucket numbers.
pub(super) const LAST_BITS: u32 = 25;

/// Bytes of the table before it first grows.
pub const FIRST_BYTES: usize = bytes_for(1 << FIRST_BITS);

/// Bytes of the largest table.
pub const LAST_BYTES: usize = bytes_for(1 << LAST_BITS);

/// One in this many of the table's blocks is its reserve. While the guest uses up the reserve, the
/// table prepares to double.
pub(super) const RESERVE_SHARE: u32 = 8;

/// Four blocks in half a cache line.
#[repr(C, align(32))]
pub struct Bucket {
    /// Addresses; 0 in a free lane.
    pub(super) keys: Lanes,
    /// Packed values: context and size.
    pub(super) values: [u32; LANES],
}

/// The memory of the buckets.
///
/// # Safety
///
/// `base` always returns the same pointer, aligned for a [`Bucket`]. From there at least
/// [`FIRST_BYTES`] bytes, and as many as the last successful `ensure` asked for, are readable and
/// writable, are used by nothing else, and are zero before their first use.
pub unsafe trait Region {
    /// The first bucket.
    fn base(&self) -> *mut Bucket;
    /// Makes the region at least `bytes` long. Returns false when the growth is refused.
    fn ensure(&mut self, bytes: usize) -> bool;
}

/// The parts of the table outside of the buckets. They are a value of their own because they are
/// all zero at first, so that a static takes no space in the runtime's binary.
pub struct Spill {
    pub(super) waiting: [LiveEntry; MAX_WAITING],
    pub(super) large: LargeSizes,
    pub(super) recent: Recent,
    reused: [Block; MAX_REUSED],
    reused_count: usize,
}

impl Spill {
    /// An empty value, all zero.
    pub const fn new() -> Self {
        Self {
            waiting: [LiveEntry::EMPTY; MAX_WAITING],
            large: LargeSizes::new(),
            recent: Recent::new(),
            reused: [Block {
                size: 0,
                context: 0,
            }; MAX_REUSED],
            reused_count: 0,
        }
    }
}

impl Default for Spill {
    fn default() -> Self {
        Self::new()
    }
}

/// Address → [`Block`].
pub struct LiveTable<R> {
    pub(super) region: R,
    /// 32 less the bits of a bucket's number.
    pub(super) shift: u32,
    /// Inserts before the next step of growing is due.
    pub(super) inserts_left: u32,
    /// Further inserts before the table must double. Growing moves them to `inserts_left`, a few at
    /// a time.
    pub(super) reserve: u32,
    /// `inserts_left` and `reserve` of an empty table, added up.
    pub(super) capacity: u32,
    /// The buckets below this number have not moved since the table last doubled.
    pub(super) unmoved: usize,
    /// Bytes from the region's start that are prefaulted. Less than the table's own bytes means
    /// that prefaulting of the next half has not started.
    pub(super) prefaulted: usize,
    /// Blocks in the waiting list.
    pub(super) waiting: usize,
    pub(super) dropped: u64,
    /// Depends on the prefetched values, so that the compiler keeps the prefetching loads. The
    /// value itself has no meaning.
    pub(super) prefetch_sink: u32,
    spill: *mut Spill,
}

pub(super) const fn bytes_for(buckets: usize) -> usize {
    (buckets + PROBE_LENGTH) * size_of::<Bucket>()
}

pub(super) const fn capacity_for(buckets: usize) -> u32 {
    (buckets * LANES / 10 * 7) as u32
}

impl<R: Region> LiveTable<R> {
    /// An empty table.
    ///
    /// # Safety
    ///
    /// `spill` outlives the table, and nothing else uses it.
    pub const unsafe fn new(region: R, spill: *mut Spill) -> Self {
        Self {
            region,
            shift: 32 - FIRST_BITS,
            inserts_left: capacity_for(1 << FIRST_BITS)
                - capacity_for(1 << FIRST_BITS) / RESERVE_SHARE,
            reserve: capacity_for(1 << FIRST_BITS) / RESERVE_SHARE,
            capacity: capacity_for(1 << FIRST_BITS),
            unmoved: 0,
            prefaulted: 0,
            waiting: 0,
            dropped: 0,
            prefetch_sink: 0,
            spill,
        }
    }

    /// Returns and resets the number of blocks that found no place while the table grew. The tests
    /// never see one.
    pub fn take_dropped(&mut self) -> u64 {
        core::mem::take(&mut self.dropped)
    }

    /// Blocks in the waiting list: those without a place in a bucket.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Buckets that have not moved since the table last doubled.
    pub fn unmoved(&self) -> usize {
        self.unmoved
    }

    /// Bytes of the region that are prefaulted: up to this size the table meets no untouched page.
    pub fn prefaulted(&self) -> usize {
        self.prefaulted
    }

    /// The memory of the buckets.
    pub fn region_mut(&mut self) -> &mut R {
        &mut self.region
    }

    /// Bytes that the buckets take.
    pub fn bytes(&self) -> usize {
        bytes_for(1 << (32 - self.shift))
    }

    #[inline(always)]
    pub(super) fn home(&self, pointer: u32) -> usize {
        home_at(pointer, self.shift)
    }

    #[inline(always)]
    pub(super) fn bucket(&self, number: usize) -> *mut Bucket {
        debug_assert!(number < (1 << (32 - self.shift)) + PROBE_LENGTH);
        // SAFETY: callers pass a home plus at most PROBE_LENGTH - 1, which `bytes_for` includes.
        unsafe { self.region.base().add(number) }
    }

    #[inline(always)]
    pub(super) fn find_in(&self, number: usize, pointer: u32) -> Option<(*mut Bucket, Lanes)> {
        let bucket = self.bucket(number);
        // SAFETY: a bucket of the region.
        let hits = unsafe { &*bucket }.keys.equal(Lanes::splat(pointer));
        (hits.bits() != 0).then_some((bucket, hits))
    }

    #[inline(always)]
    pub(super) fn take_from(&mut self, number: usize, pointer: u32) -> Option<u32> {
        let (bucket, hits) = self.find_in(number, pointer)?;
        // SAFETY: a bucket of the region.
        let bucket = unsafe { &mut *bucket };
        // Writes the whole vector: a narrow store would stall the next comparison of this bucket.
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

    /// Removes an older block with this address from its home bucket and notes it as reused: the
    /// guest's allocator has handed out its address again, so it was freed without a hook. The
    /// other buckets are not searched, because that would take too long.
    pub(super) fn remove_reused(&mut self, pointer: u32) {
        if self.spill().reused_count < MAX_REUSED
            && let Some(value) = self.take_from(self.home(pointer), pointer)
        {
            self.note_reused(pointer, value);
        }
    }

    /// Whether a block that the table is moving is reused: a newer one with its address is in the
    /// home bucket of the doubled table already.
    pub(super) fn is_reused(&mut self, pointer: u32) -> bool {
        self.spill().reused_count < MAX_REUSED
            && self.find_in(self.home(pointer), pointer).is_some()
    }

    /// Notes a block that is no longer in the table as reused.
    pub(super) fn note_reused(&mut self, pointer: u32, value: u32) {
        let block = self.unpack(pointer, value);
        self.inserts_left = self.inserts_left.wrapping_add(1);
        let spill = self.spill();
        if let Some(slot) = spill.reused.get_mut(spill.reused_count) {
            *slot = block;
            spill.reused_count += 1;
        }
    }

    /// Returns a block whose address was handed out again while it was live, until there are no
    /// more.
    pub fn take_reused(&mut self) -> Option<Block> {
        let spill = self.spill();
        let at = spill.reused_count.checked_sub(1)?;
        spill.reused_count = at;
        spill.reused.get(at).copied()
    }

    pub(super) fn place(&mut self, pointer: u32, value: u32) -> bool {
        let home = self.home(pointer);
        (home..home + PROBE_LENGTH).any(|number| self.place_in(number, pointer, value))
    }

    #[inline(always)]
    pub(super) fn pack(&mut self, pointer: u32, size: u32, context: u32) -> Option<u32> {
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
    pub(super) fn unpack(&mut self, pointer: u32, value: u32) -> Block {
        let mut block = unpack_small(value);
        if block.size == MAX_PACKED_SIZE {
            block.size = self.spill().large.remove(pointer);
        }
        block
    }

    #[inline(always)]
    pub(super) fn recent(&mut self) -> &mut Recent {
        &mut self.spill().recent
    }

    #[inline(always)]
    pub(super) fn spill(&mut self) -> &mut Spill {
        // SAFETY: by the contract of `new` the pointer is valid and only this table uses it; the
        // reference borrows `self` mutably.
        unsafe { &mut *self.spill }
    }

    pub(super) fn push_waiting(&mut self, pointer: u32, value: u32) -> bool {
        let at = self.waiting;
        let Some(entry) = self.spill().waiting.get_mut(at) else {
            return false;
        };
        *entry = LiveEntry { pointer, value };
        self.waiting += 1;
        true
    }

    pub(super) fn find_waiting(&mut self, pointer: u32) -> Option<u32> {
        let count = self.waiting;
        let waiting = self.spill().waiting.get(..count)?;
        let entry = waiting.iter().find(|entry| entry.pointer == pointer)?;
        Some(entry.value)
    }

    pub(super) fn remove_waiting(&mut self, pointer: u32) -> Option<u32> {
        let count = self.waiting;
        let waiting = self.spill().waiting.get_mut(..count)?;
        let at = waiting.iter().position(|entry| entry.pointer == pointer)?;
        let value = waiting[at].value;
        waiting[at] = waiting[count - 1];
        self.waiting -= 1;
        Some(value)
    }
}

/// Fibonacci hashing of an address; blocks are aligned to at least 8 bytes.
///
/// Adjacent blocks hash to distant buckets, so each block that stays costs a cache miss. That is
/// why the table takes blocks in batches. Hashing the address in units of 256 bytes would save half
/// of these misses, but under some heap layouts a thousand blocks would then find no place.
#[inline(always)]
pub(super) fn home_at(pointer: u32, shift: u32) -> usize {
    ((pointer >> 3).wrapping_mul(0x9E37_79B1) >> shift) as usize
}

/// The first lane that a comparison has hit. There must be a hit.
#[inline(always)]
pub(super) fn lane(hits: Lanes) -> usize {
    hits.bits().trailing_zeros() as usize
}
