//! How the live table grows.
//!
//! It doubles in place, and little by little: a table of a hundred thousand blocks would take milliseconds at
//! once, in the middle of a request. While it moves, new blocks go where they belong in the doubled table, and only
//! blocks that are not found there are looked for where they were before. Before it doubles, the memory that comes to it
//! is written to, a few pages for every [`MOVE_AFTER`] blocks: a page that is looked at before it is written to costs the
//! host a second page fault, and an interrupt of its other cores.

use core::ops::Range;

use super::{Bucket, LAST_BITS, LiveTable, PROBE, Region, WAITING, bytes_for, home_at, limit_for};
use crate::lanes::{LANES, Lanes};
use crate::recent::Entry;

/// While the table moves or is about to double, so many blocks come before the next part of that is done.
const MOVE_AFTER: u32 = 64;

/// The part of the blocks of a full table, one in so many, during whose coming it is made ready to double.
pub(super) const READY_SHARE: u32 = 8;

/// Pages that are made ready at once: more than twice of what it takes to be done in time.
const READY_PAGES: usize = 4;

/// A page of the host.
const PAGE: usize = 4096;

/// Buckets of that part: some tens of microseconds. Eight for each new block, so that a table has moved long before it
/// is full again.
const MOVE_BUCKETS: usize = 512;

/// Buckets that move when a block was found where it had been before.
pub(super) const MOVE_ON_SEARCH: usize = 8;

/// After a refused growth it is tried again when this many blocks more are live.
const RETRY_AFTER: u32 = 8192;

impl<R: Region> LiveTable<R> {
    /// Where a block may be that has not moved since the table doubled.
    pub(super) fn before_moving(&self, pointer: u32) -> Range<usize> {
        let home = home_at(pointer, self.shift + 1);
        home..(home + PROBE).min(self.unmoved)
    }

    pub(super) fn remove_unmoved(&mut self, pointer: u32) -> Option<u32> {
        let value = self
            .before_moving(pointer)
            .find_map(|number| self.take_from(number, pointer))?;
        // So that it ends, even if no blocks come any more.
        self.move_some(MOVE_ON_SEARCH);
        Some(value)
    }

    /// All buckets in reach are full: the table grows if it is at least half as full as allowed,
    /// else the block waits. While the table moves it waits first, since that may make room.
    pub(super) fn make_room(&mut self, pointer: u32, value: u32) -> bool {
        if self.unmoved > 0 {
            self.move_some(MOVE_BUCKETS);
            if self.place(pointer, value) || self.push_waiting(pointer, value) {
                return true;
            }
            self.move_some(usize::MAX);
        }
        // A table that is nearly empty and still has no place in reach would only waste memory.
        if self.left + self.reserve < self.limit / 2 && self.grow() && self.place(pointer, value) {
            return true;
        }
        self.push_waiting(pointer, value)
    }

    /// The next part of what is under way: moving, or making ready to double.
    pub(super) fn grow_on(&mut self) {
        if self.unmoved > 0 {
            self.move_some(MOVE_BUCKETS);
        } else {
            self.make_ready();
        }
        self.allow(MOVE_AFTER);
    }

    /// Doubles the table; what is in it moves later, except that of the last time, which moves now.
    #[cold]
    #[inline(never)]
    pub(super) fn grow(&mut self) -> bool {
        self.move_some(usize::MAX);
        let buckets = 1usize << (32 - self.shift);
        if self.shift <= 32 - LAST_BITS || !self.region.ensure(bytes_for(2 * buckets)) {
            self.left = self.left.wrapping_add(RETRY_AFTER);
            self.limit = self.limit.wrapping_add(RETRY_AFTER);
            return false;
        }
        let live = self.limit.wrapping_sub(self.left + self.reserve);
        self.shift -= 1;
        self.unmoved = buckets + PROBE;
        let limit = limit_for(2 * buckets);
        // More than that can be live, if growth has been refused before.
        self.limit = if limit > live {
            limit
        } else {
            live + RETRY_AFTER
        };
        self.left = 0;
        self.reserve = self.limit - live;
        // Their list may be needed while the table moves.
        self.place_waiting();
        self.move_some(MOVE_BUCKETS);
        self.allow(MOVE_AFTER);
        true
    }

    /// Moves the blocks of some buckets to where they belong since the table doubled. Home `h` became `2h` or `2h + 1`:
    /// from the end, buckets move up into what has moved already; where they do not, into some that will move once more.
    #[cold]
    #[inline(never)]
    pub(super) fn move_some(&mut self, buckets: usize) {
        if self.unmoved == 0 {
            return;
        }
        let end = self.unmoved;
        let start = end.saturating_sub(buckets);
        for number in (start..end).rev() {
            self.unmoved = number;
            self.empty_bucket(number);
        }
        if start == 0 {
            self.place_waiting();
            self.allow(self.reserve.saturating_sub(self.limit / READY_SHARE));
        }
    }

    /// Writes to some more pages of the memory that the table takes when it doubles.
    fn make_ready(&mut self) {
        let buckets = 1usize << (32 - self.shift);
        let (now, doubled) = (bytes_for(buckets), bytes_for(2 * buckets));
        if self.shift <= 32 - LAST_BITS || self.ready >= doubled || !self.region.ensure(doubled) {
            return;
        }
        let base = self.region.base();
        self.ready = self.ready.max(now);
        for _ in 0..READY_PAGES {
            let page = (base as usize + self.ready).next_multiple_of(PAGE) - base as usize;
            if page < doubled {
                // SAFETY: `ensure` has made the region so long, and nothing of it has been used from `now` on: zero it
                // is and zero it stays.
                unsafe { base.cast::<u8>().add(page).write_volatile(0) };
            }
            self.ready = doubled.min(page + 1);
        }
    }

    /// So many more blocks may come before there is something to do.
    fn allow(&mut self, blocks: u32) {
        let more = self.reserve.min(blocks);
        self.left = self.left.wrapping_add(more);
        self.reserve -= more;
    }

    pub(super) fn place_waiting(&mut self) {
        let waiting = core::mem::take(&mut self.waiting);
        for at in 0..waiting {
            let Entry { pointer, value } = self.spill().waiting[at % WAITING];
            if !self.place(pointer, value) && !self.push_waiting(pointer, value) {
                self.dropped += 1;
            }
        }
    }

    fn empty_bucket(&mut self, number: usize) {
        let bucket = self.bucket(number);
        let empty = Bucket {
            keys: Lanes::splat(0),
            values: [0; LANES],
        };
        // SAFETY: a bucket of the region; the reference ends before another one is made.
        let full = unsafe { core::ptr::replace(bucket, empty) };
        for (pointer, value) in full.keys.values().into_iter().zip(full.values) {
            if pointer != 0 && !self.place(pointer, value) && !self.push_waiting(pointer, value) {
                self.dropped += 1;
            }
        }
    }
}
