//! The context table: calling contexts, and what each has allocated and freed.
//!
//! The host reads [`Contexts`] in place as 64-bit words: 24 words of [`Header`], then
//! [`MAX_CONTEXTS`] records of eight words each. A change of this layout also changes
//! `src/instance_tables.rs` of guest-heap, and needs a new [`LAYOUT_VERSION`].

/// Version of the layout, the first word that the host reads.
pub const LAYOUT_VERSION: u64 = 3;

/// Records of the table. When they are all in use, further contexts share index 0, the overflow.
pub const MAX_CONTEXTS: usize = 1 << CONTEXT_BITS;

/// Bits of a context's index.
pub const CONTEXT_BITS: u32 = 14;

/// [`Contexts::find`] sets this bit in the index of a context that it has just added.
pub const NEW: u32 = 1 << 31;

/// Twice [`MAX_CONTEXTS`], so that a search with open addressing soon meets a free slot.
const INDEX_SLOTS: usize = 2 * MAX_CONTEXTS;

/// Slots in use at first: one page of memory serves a guest with a few hundred contexts.
const FIRST_INDEX_SLOTS: usize = 1 << 11;

/// The words that the host reads before the records.
#[repr(C, align(64))]
pub struct Header {
    /// [`LAYOUT_VERSION`].
    pub layout: u64,
    /// Contexts in the table without the overflow: records 1 to `contexts` are in use.
    pub contexts: u64,
    /// Allocations whose context found the table full.
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
    /// Always 0.
    pub reserved: [u64; 9],
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
    /// Bytes by which memory has grown without an entry point, and the number of these growths.
    pub unseen: [u64; 2],
}

/// The context table.
#[repr(C, align(64))]
pub struct Contexts {
    /// Sums, and counts of lost blocks and unknown frees.
    pub header: Header,
    records: [Record; MAX_CONTEXTS],
    /// Mask of the slots in use. At first it is 0 instead of `FIRST_INDEX_SLOTS - 1`, because all
    /// of the table is zero at first: see [`Contexts::new`].
    grown_mask: usize,
    index: [u16; INDEX_SLOTS],
}

impl Contexts {
    /// 64-bit words that the host reads: the header and all records.
    pub const SHARED_WORDS: usize = (size_of::<Header>() + size_of::<[Record; MAX_CONTEXTS]>()) / 8;

    /// An empty table, all zero, so that it takes no space in the runtime's binary.
    pub const fn new() -> Self {
        const EMPTY: Record = Record {
            context: 0,
            synthetic: 0,
            allocated: [0; 2],
            freed: [0; 2],
            unseen: [0; 2],
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
                reserved: [0; 9],
            },
            records: [EMPTY; MAX_CONTEXTS],
            grown_mask: 0,
            index: [0; INDEX_SLOTS],
        }
    }

    /// Returns the index of `context`. Adds an unknown context and sets [`NEW`] in its index.
    ///
    /// New contexts get ascending indices from 1. When the table is full they get 0, the overflow.
    ///
    /// The low bits of a context are a sum of hashes already, so they select the slot directly.
    #[inline(always)]
    pub fn find(&mut self, context: u64) -> u32 {
        let slot = context as usize & self.slot_mask();
        // SAFETY: the mask is less than the length of the index.
        let index = unsafe { *self.index.get_unchecked(slot) } as usize;
        // SAFETY: the index holds only values below MAX_CONTEXTS.
        if index != 0 && unsafe { self.records.get_unchecked(index) }.context == context {
            return index as u32;
        }
        self.search(context, slot)
    }

    #[cold]
    #[inline(never)]
    fn search(&mut self, context: u64, mut slot: usize) -> u32 {
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
        if index >= MAX_CONTEXTS {
            self.header.overflowed += 1;
            return 0;
        }
        self.header.contexts = index as u64;
        self.index[slot] = index as u16;
        self.records[index].context = context;
        if index * 2 > self.slot_mask() && self.slot_mask() < INDEX_SLOTS - 1 {
            self.double_slots();
        }
        index as u32 | NEW
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
