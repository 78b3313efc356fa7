//! The context table: calling contexts, and what each has allocated and freed.
//!
//! The host reads [`Contexts`] in place as 64-bit words: [`Header`], then [`MAX_CONTEXTS`] records,
//! one [`Checks`], [`MAX_CONTEXTS`] times [`Resizes`], and [`HandleCounts`]. A change of this
//! layout also changes `src/instance_tables.rs` of guest-heap, and needs a new [`LAYOUT_VERSION`].
//!
//! The last [`MAX_FOLDED`] records are for folded call stacks. When all other records are in use,
//! the host folds the call stack of each further context into one of them: see `folds`.

use crate::handles::HandleCounts;

/// Version of the layout, the first word that the host reads.
pub const LAYOUT_VERSION: u64 = 5;

/// Records of the table. Index 0 is the overflow: contexts that could not be folded.
pub const MAX_CONTEXTS: usize = 1 << CONTEXT_BITS;

/// Records for folded call stacks, the last ones of the table. The host assigns them in ascending
/// order.
pub const MAX_FOLDED: usize = 2048;

/// Records for synthetic contexts that are new when the other records are in use. They are the ones
/// before the folded call stacks.
const SYNTHETIC_RESERVE: usize = 128;

/// Index of the first folded call stack.
pub const FIRST_FOLDED: usize = MAX_CONTEXTS - MAX_FOLDED;

/// Bits of a context's index.
pub const CONTEXT_BITS: u32 = 14;

/// [`Contexts::find`] sets this bit in the index of a context that it has just added.
pub const NEW: u32 = 1 << 31;

/// [`Contexts::search`] returns this for an unknown context when the table is full.
pub const FULL: u32 = 1 << 30;

/// Twice [`MAX_CONTEXTS`], so that a search with open addressing soon meets a free slot.
const INDEX_SLOTS: usize = 2 * MAX_CONTEXTS;

/// Slots in use at first: one page of memory serves a guest with a few hundred contexts.
const FIRST_INDEX_SLOTS: usize = 1 << 11;

/// The words that the host reads before the records.
#[repr(C, align(64))]
pub struct Header {
    /// [`LAYOUT_VERSION`].
    pub layout: u64,
    /// Contexts in the table without the overflow and the folded call stacks: records 1 to
    /// `contexts` are in use.
    pub contexts: u64,
    /// Allocations whose context found the table full. They count in a folded call stack or in the
    /// overflow.
    pub overflowed: u64,
    /// Blocks that found no place in the live table; the profiler no longer counts them.
    pub lost_objects: u64,
    /// Bytes of the lost blocks.
    pub lost_bytes: u64,
    /// Frees of unknown blocks outside of the data segments: lost blocks, or blocks whose
    /// allocation no hook has seen.
    pub unknown_frees: u64,
    /// Bytes of the live table.
    pub table_bytes: u64,
    /// Live bytes of all records. The table keeps this sum because the host reads it before and
    /// after each call.
    pub live_bytes: u64,
    /// Pages of the guest's memories; 0 if another module defines them. Up to date after each
    /// growth and each export.
    pub memory_pages: u64,
    /// Pages that these memories had at first.
    pub initial_pages: u64,
    /// Bytes of static data and stack, at least.
    pub static_bytes: u64,
    /// Pages by which this module's code has grown its memories.
    pub grown_pages: u64,
    /// Of these, pages that an entry point has taken.
    pub seen_pages: u64,
    /// Blocks that an entry point has handed out again while they were live: no hook has seen how
    /// they were freed.
    pub reused_blocks: u64,
    /// Frees of unknown blocks in the data segments: a snapshot of an initialised program has its
    /// heap there.
    pub snapshot_frees: u64,
    /// The context of the entry point that has grown memory most recently. Its growth is in no
    /// record yet, because a new context has a record only after the entry point has returned.
    pub growing_context: u64,
    /// Pages of that growth; 0 if all growths are in the records.
    pub growing_pages: u64,
    /// 1 once a module has described its memories.
    pub describes_memory: u64,
    /// Always 0.
    pub reserved: [u64; 6],
}

/// One context. It fills a cache line, so that an allocation touches one line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct Record {
    /// The calling context: the value that identifies a call stack.
    pub context: u64,
    /// 0 for a call stack, otherwise the number of a synthetic context.
    pub synthetic: u64,
    /// Bytes and blocks ever allocated. Two lanes, since each allocation adds to both.
    pub allocated: [u64; 2],
    /// Bytes and blocks ever freed.
    pub freed: [u64; 2],
    /// Pages by which memory has grown without an entry point, and the number of these growths.
    pub unseen: [u32; 2],
    /// Pages by which memory has grown for an entry point.
    pub seen_pages: u64,
}

/// Counts for the check of the contexts, see `report_every_event`.
#[repr(C, align(64))]
pub struct Checks {
    /// Allocations that the runtime could not report to the host, so the host could not compare
    /// their call stacks.
    pub unreported: u64,
}

/// What a context has done to blocks that existed already, with `realloc`. It is not in the record,
/// so that an allocation still touches one cache line.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
pub struct Resizes {
    /// Blocks that the context resized. They count as allocated by the context, too.
    pub objects: u64,
    /// Bytes that such blocks had before, if they belonged to another context. The bytes that a
    /// block lost by shrinking do not count.
    pub taken_over_bytes: u64,
    /// The same for blocks that belonged to this context already.
    pub kept_bytes: u64,
    /// The other context of the last block that was taken over, plus one.
    pub from: u64,
}

/// The context table.
#[repr(C, align(64))]
pub struct Contexts {
    /// Sums, and counts of lost blocks and unknown frees.
    pub header: Header,
    records: [Record; MAX_CONTEXTS],
    /// Counts for the check of the contexts.
    pub checks: Checks,
    resizes: [Resizes; MAX_CONTEXTS],
    /// The ledger of handles.
    pub handles: HandleCounts,
    /// Mask of the slots in use. At first it is 0 instead of `FIRST_INDEX_SLOTS - 1`, because all
    /// of the table is zero at first: see [`Contexts::new`].
    grown_mask: usize,
    index: [u16; INDEX_SLOTS],
}

impl Contexts {
    /// 64-bit words that the host reads: everything before the index.
    pub const SHARED_WORDS: usize = core::mem::offset_of!(Self, grown_mask) / 8;

    /// An empty table, all zero, so that it takes no space in the runtime's binary.
    pub const fn new() -> Self {
        const EMPTY: Record = Record {
            context: 0,
            synthetic: 0,
            allocated: [0; 2],
            freed: [0; 2],
            unseen: [0; 2],
            seen_pages: 0,
        };
        const NO_RESIZES: Resizes = Resizes {
            objects: 0,
            taken_over_bytes: 0,
            kept_bytes: 0,
            from: 0,
        };
        Self {
            header: Header {
                layout: 0,
                contexts: 0,
                overflowed: 0,
                lost_objects: 0,
                lost_bytes: 0,
                unknown_frees: 0,
                table_bytes: 0,
                live_bytes: 0,
                memory_pages: 0,
                initial_pages: 0,
                static_bytes: 0,
                grown_pages: 0,
                seen_pages: 0,
                reused_blocks: 0,
                snapshot_frees: 0,
                growing_context: 0,
                growing_pages: 0,
                describes_memory: 0,
                reserved: [0; 6],
            },
            records: [EMPTY; MAX_CONTEXTS],
            checks: Checks { unreported: 0 },
            resizes: [NO_RESIZES; MAX_CONTEXTS],
            handles: HandleCounts::new(),
            grown_mask: 0,
            index: [0; INDEX_SLOTS],
        }
    }

    /// Returns the index of a context that is at its place in the index of the table, as nearly all
    /// contexts are.
    ///
    /// The low bits of a context are a sum of hashes already, so they select the slot directly.
    #[inline(always)]
    pub fn find(&self, context: u64) -> Option<u32> {
        let slot = context as usize & self.slot_mask();
        // SAFETY: the mask is less than the length of the index.
        let index = unsafe { *self.index.get_unchecked(slot) } as usize;
        // SAFETY: the index holds only values below MAX_CONTEXTS.
        let is_it = index != 0 && unsafe { self.records.get_unchecked(index) }.context == context;
        is_it.then_some(index as u32)
    }

    /// Returns the index of any context. Adds an unknown context and sets [`NEW`] in its index.
    ///
    /// New contexts get ascending indices from 1. Returns [`FULL`] when the table is full.
    pub fn search(&mut self, context: u64) -> u32 {
        self.search_up_to(context, FIRST_FOLDED - SYNTHETIC_RESERVE)
    }

    /// Like [`search`](Self::search), for a synthetic context: some records are reserved for them.
    /// Returns the overflow when the table is full.
    pub fn search_synthetic(&mut self, context: u64) -> u32 {
        match self.search_up_to(context, FIRST_FOLDED) {
            FULL => 0,
            found => found,
        }
    }

    fn search_up_to(&mut self, context: u64, end: usize) -> u32 {
        let mut slot = context as usize & self.slot_mask();
        loop {
            let index = self.index[slot] as usize;
            if index == 0 {
                break;
            }
            if self.records[index & (MAX_CONTEXTS - 1)].context == context {
                return index as u32;
            }
            slot = (slot + 1) & self.slot_mask();
        }
        let index = self.header.contexts as usize + 1;
        if index >= end {
            return FULL;
        }
        self.header.contexts = index as u64;
        self.index[slot] = index as u16;
        self.records[index].context = context;
        if index * 2 > self.slot_mask() && self.slot_mask() < INDEX_SLOTS - 1 {
            self.double_slots();
        }
        index as u32 | NEW
    }

    /// The index of a context that the table has. Adds nothing.
    pub fn known(&self, context: u64) -> Option<u32> {
        let mut slot = context as usize & self.slot_mask();
        loop {
            let index = self.index[slot] as usize;
            if index == 0 {
                return None;
            }
            if self.records[index & (MAX_CONTEXTS - 1)].context == context {
                return Some(index as u32);
            }
            slot = (slot + 1) & self.slot_mask();
        }
    }

    #[inline(always)]
    fn slot_mask(&self) -> usize {
        self.grown_mask | (FIRST_INDEX_SLOTS - 1)
    }

    /// Doubles the slots in use, and inserts all contexts again.
    fn double_slots(&mut self) {
        self.grown_mask = 2 * self.slot_mask() + 1;
        let mask = self.slot_mask();
        self.index[..=mask].fill(0);
        for index in 1..=self.header.contexts as usize {
            let mut slot = self.records[index].context as usize & mask;
            while self.index[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.index[slot] = index as u16;
        }
    }

    /// Counts an allocation of `size` bytes in a context.
    #[inline(always)]
    pub fn allocate(&mut self, index: u32, size: u32) {
        self.record(index).allocate(size);
        self.header.live_bytes = self.header.live_bytes.wrapping_add(u64::from(size));
    }

    /// Counts a free of `size` bytes in a context.
    #[inline(always)]
    pub fn free(&mut self, index: u32, size: u32) {
        self.record(index).free(size);
        self.header.live_bytes = self.header.live_bytes.wrapping_sub(u64::from(size));
    }

    /// Moves an allocated block of `size` bytes from one context to another.
    #[inline(always)]
    pub fn move_block(&mut self, from: u32, to: u32, size: u32) {
        self.record(from).undo_allocate(size);
        self.record(to).allocate(size);
    }

    /// Counts that the context `index` has resized a block. The block belonged to the context
    /// `from`, and `kept` bytes of it were there before: the smaller one of its two sizes.
    #[inline(always)]
    pub fn resize(&mut self, index: u32, from: u32, kept: u32) {
        // SAFETY: masked to the length of the array, which is a power of two.
        let resizes = unsafe {
            self.resizes
                .get_unchecked_mut(index as usize & (MAX_CONTEXTS - 1))
        };
        resizes.objects += 1;
        if from == index {
            resizes.kept_bytes += u64::from(kept);
        } else {
            resizes.taken_over_bytes += u64::from(kept);
            resizes.from = u64::from(from) + 1;
        }
    }

    /// What a context has done to blocks that existed already; ignores [`NEW`].
    pub fn resizes(&self, index: u32) -> Resizes {
        self.resizes[index as usize & (MAX_CONTEXTS - 1)]
    }

    /// The record of an index; ignores [`NEW`].
    #[inline(always)]
    pub fn record(&mut self, index: u32) -> &mut Record {
        // SAFETY: masked to the length of the array, which is a power of two.
        unsafe {
            self.records
                .get_unchecked_mut(index as usize & (MAX_CONTEXTS - 1))
        }
    }
}

impl Default for Contexts {
    fn default() -> Self {
        Self::new()
    }
}

impl Record {
    #[inline(always)]
    fn allocate(&mut self, size: u32) {
        self.allocated[0] += u64::from(size);
        self.allocated[1] += 1;
    }

    #[inline(always)]
    fn free(&mut self, size: u32) {
        self.freed[0] += u64::from(size);
        self.freed[1] += 1;
    }

    #[inline(always)]
    fn undo_allocate(&mut self, size: u32) {
        self.allocated[0] -= u64::from(size);
        self.allocated[1] -= 1;
    }
}
