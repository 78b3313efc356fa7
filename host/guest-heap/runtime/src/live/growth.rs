//! How the live table grows.
//!
//! The table doubles in place and moves its blocks in small steps: to move a hundred thousand
//! blocks at once would take milliseconds in the middle of a request. While it moves, new blocks go
//! to their bucket in the doubled table. A search that fails there also looks at the old bucket.
//!
//! Before the table doubles, it writes to the pages that the doubling adds, a few pages for every
//! [`INSERTS_PER_STEP`] inserts. A page that is read before it is written costs the host a second
//! page fault, and an interrupt of its other cores.

use core::ops::Range;

use super::table::{
    Bucket, LAST_BITS, LiveTable, MAX_WAITING, PROBE_LENGTH, RESERVE_SHARE, Region, bytes_for,
    capacity_for, home_at,
};
use crate::block::LiveEntry;
use crate::lanes::{LANES, Lanes};

/// Inserts between two steps, while the table moves or prepares to double.
const INSERTS_PER_STEP: u32 = 64;

/// Pages that one step prefaults: more than twice as many as it takes to finish in time.
const PAGES_PER_STEP: usize = 4;

/// Bytes of a page of the host.
const HOST_PAGE: usize = 4096;

/// Buckets that one step moves, in some tens of microseconds. These are eight per insert, so that
/// the table has moved long before it is full again.
const BUCKETS_PER_STEP: usize = 512;

/// Buckets that move when a search finds a block at its old place.
pub(super) const BUCKETS_PER_OLD_HIT: usize = 8;

/// Inserts between a refused growth and the next try.
const INSERTS_PER_RETRY: u32 = 8192;

impl<R: Region> LiveTable<R> {
    /// The unmoved buckets that may hold a block since before the table doubled.
    pub(super) fn old_buckets(&self, pointer: u32) -> Range<usize> {
        let home = home_at(pointer, self.shift + 1);
        home..(home + PROBE_LENGTH).min(self.unmoved)
    }

    pub(super) fn remove_unmoved(&mut self, pointer: u32) -> Option<u32> {
        let value = self
            .old_buckets(pointer)
            .find_map(|number| self.take_from(number, pointer))?;
        // The move must also end when the guest allocates no more blocks.
        self.move_buckets(BUCKETS_PER_OLD_HIT);
        Some(value)
    }

    /// Finds a place for a block whose buckets are all full. The table grows if it holds at least
    /// half of its capacity; otherwise the block waits. While the table moves, the block waits
    /// first, since the move may free a place.
    pub(super) fn make_room(&mut self, pointer: u32, value: u32) -> bool {
        if self.unmoved > 0 {
            self.move_buckets(BUCKETS_PER_STEP);
            if self.place(pointer, value) || self.push_waiting(pointer, value) {
                return true;
            }
            self.move_buckets(usize::MAX);
        }
        // To double a table that is nearly empty would only waste memory.
        if self.inserts_left + self.reserve < self.capacity / 2
            && self.double()
            && self.place(pointer, value)
        {
            return true;
        }
        self.push_waiting(pointer, value)
    }

    /// Takes the next step: moves buckets, or prepares to double.
    pub(super) fn grow_step(&mut self) {
        if self.unmoved > 0 {
            self.move_buckets(BUCKETS_PER_STEP);
        } else {
            self.prefault();
        }
        self.release_reserve(INSERTS_PER_STEP);
    }

    /// Doubles the table. Blocks move later; a move that is still under way ends first.
    #[cold]
    #[inline(never)]
    pub(super) fn double(&mut self) -> bool {
        self.move_buckets(usize::MAX);
        let buckets = 1usize << (32 - self.shift);
        if self.shift <= 32 - LAST_BITS || !self.region.ensure(bytes_for(2 * buckets)) {
            self.inserts_left = self.inserts_left.wrapping_add(INSERTS_PER_RETRY);
            self.capacity = self.capacity.wrapping_add(INSERTS_PER_RETRY);
            return false;
        }
        let live = self.capacity.wrapping_sub(self.inserts_left + self.reserve);
        self.shift -= 1;
        self.unmoved = buckets + PROBE_LENGTH;
        let capacity = capacity_for(2 * buckets);
        // After a refused growth more blocks than that can be live.
        self.capacity = if capacity > live {
            capacity
        } else {
            live + INSERTS_PER_RETRY
        };
        self.inserts_left = 0;
        self.reserve = self.capacity - live;
        // The move may need the waiting list for other blocks.
        self.place_waiting();
        self.move_buckets(BUCKETS_PER_STEP);
        self.release_reserve(INSERTS_PER_STEP);
        true
    }

    /// Moves the blocks of some buckets to their places in the doubled table.
    ///
    /// Home `h` became `2h` or `2h + 1`. The move begins at the last bucket, so most blocks go up
    /// into buckets that have moved. The others go into buckets that will move once more.
    #[cold]
    #[inline(never)]
    pub(super) fn move_buckets(&mut self, buckets: usize) {
        if self.unmoved == 0 {
            return;
        }
        let end = self.unmoved;
        let start = end.saturating_sub(buckets);
        for number in (start..end).rev() {
            self.unmoved = number;
            self.move_bucket(number);
        }
        if start == 0 {
            self.place_waiting();
            self.release_reserve(self.reserve.saturating_sub(self.capacity / RESERVE_SHARE));
        }
    }

    /// Writes to some pages of the memory that the doubled table will take.
    fn prefault(&mut self) {
        let buckets = 1usize << (32 - self.shift);
        let (now, doubled) = (bytes_for(buckets), bytes_for(2 * buckets));
        if self.shift <= 32 - LAST_BITS
            || self.prefaulted >= doubled
            || !self.region.ensure(doubled)
        {
            return;
        }
        let base = self.region.base();
        self.prefaulted = self.prefaulted.max(now);
        for _ in 0..PAGES_PER_STEP {
            let page =
                (base as usize + self.prefaulted).next_multiple_of(HOST_PAGE) - base as usize;
            if page < doubled {
                // SAFETY: `ensure` has made the region long enough. Nothing from `now` on is in
                // use, so it is zero and stays zero.
                unsafe { base.cast::<u8>().add(page).write_volatile(0) };
            }
            self.prefaulted = doubled.min(page + 1);
        }
    }

    /// Moves up to `inserts` from the reserve to the inserts before the next step.
    fn release_reserve(&mut self, inserts: u32) {
        let more = self.reserve.min(inserts);
        self.inserts_left = self.inserts_left.wrapping_add(more);
        self.reserve -= more;
    }

    fn place_waiting(&mut self) {
        let waiting = core::mem::take(&mut self.waiting);
        for at in 0..waiting {
            let LiveEntry { pointer, value } = self.spill().waiting[at % MAX_WAITING];
            if !self.place(pointer, value) && !self.push_waiting(pointer, value) {
                self.dropped += 1;
            }
        }
    }

    fn move_bucket(&mut self, number: usize) {
        let bucket = self.bucket(number);
        let empty = Bucket {
            keys: Lanes::splat(0),
            values: [0; LANES],
        };
        // SAFETY: a bucket of the region; the reference ends before the next one is made.
        let full = unsafe { core::ptr::replace(bucket, empty) };
        for (pointer, value) in full.keys.values().into_iter().zip(full.values) {
            if pointer != 0 && self.is_reused(pointer) {
                self.note_reused(pointer, value);
                continue;
            }
            if pointer != 0 && !self.place(pointer, value) && !self.push_waiting(pointer, value) {
                self.dropped += 1;
            }
        }
    }
}
