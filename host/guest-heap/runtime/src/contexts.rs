//! Calling contexts and what each has allocated and freed.
//!
//! The layout of [`Contexts`] is what the host reads in place, as 64-bit words: eight of
//! [`Header`], then [`MAX_CONTEXTS`] records of eight. Whoever changes it changes `src/reading.rs`
//! of guest-heap too, and [`LAYOUT`].

/// The version of the layout, the first word that the host reads.
pub const LAYOUT: u64 = 2;

/// How many contexts are told apart. All later ones share index 0, the overflow.
pub const MAX_CONTEXTS: usize = 1 << CONTEXT_BITS;

/// Bits of a context's index.
pub const CONTEXT_BITS: u32 = 14;

/// Set in an index that [`Contexts::find`] gave out for the first time.
pub const NEW: u32 = 1 << 31;

/// Twice [`MAX_CONTEXTS`], so that an open-addressed search ends soon.
const SLOTS: usize = 2 * MAX_CONTEXTS;

/// Slots that are in use at first: one page of memory serves a guest with a few hundred contexts.
const FIRST_SLOTS: usize = 1 << 11;

/// What the host reads before the records.
#[repr(C, align(64))]
pub struct Header {
    /// [`LAYOUT`].
    pub layout: u64,
    /// Contexts seen, the overflow not counted: records 1 to `named` are in use.
    pub named: u64,
    /// Allocations whose context had no record of its own any more.
    pub overflowed: u64,
    /// Blocks that could not be kept in the live table and were dropped from the books.
    pub lost_objects: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// Frees of blocks that were never seen: allocated before the books were opened, or lost.
    pub unknown_frees: u64,
    /// Bytes of the live table.
    pub table_bytes: u64,
    /// Bytes that are allocated: what the records say together, since the host asks for it before and after each call.
    pub live_bytes: u64,
}

/// One context. A cache line, so that an event touches one line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct Record {
    /// The value that stands for the call stack.
    pub context: u64,
    /// 0 for a call stack, else the number of a special context.
    pub special: u64,
    /// Bytes allocated so far, and blocks: two lanes, since each event adds to both.
    pub allocated: [u64; 2],
    /// Bytes freed so far, and blocks.
    pub freed: [u64; 2],
    /// Always 0.
    pub reserved: [u64; 2],
}

/// The table that the host reads.
#[repr(C, align(64))]
pub struct Contexts {
    /// Totals and counts of what went wrong.
    pub header: Header,
    records: [Record; MAX_CONTEXTS],
    /// Slots that are in use, less one, and zero for [`FIRST_SLOTS`]: see [`Contexts::new`].
    more_slots: usize,
    index: [u16; SLOTS],
}

impl Contexts {
    /// Words that the host reads.
    pub const SHARED_WORDS: usize = (size_of::<Header>() + size_of::<[Record; MAX_CONTEXTS]>()) / 8;

    /// An empty table: all zero, so that it takes no place in the runtime's binary.
    pub const fn new() -> Self {
        const EMPTY: Record = Record {
            context: 0,
            special: 0,
            allocated: [0; 2],
            freed: [0; 2],
            reserved: [0; 2],
        };
        Self {
            header: Header {
                layout: 0,
                named: 0,
                overflowed: 0,
                lost_objects: 0,
                lost_bytes: 0,
                unknown_frees: 0,
                table_bytes: 0,
                live_bytes: 0,
            },
            records: [EMPTY; MAX_CONTEXTS],
            more_slots: 0,
            index: [0; SLOTS],
        }
    }

    /// The index of `context`, with [`NEW`] set when it has just been given out. Indices are given
    /// out in order, from 1; 0 is the overflow.
    ///
    /// The low bits of a context are a sum of hashes already, so they are the slot as they stand.
    #[inline(always)]
    pub fn find(&mut self, context: u64) -> u32 {
        let slot = context as usize & self.slot_mask();
        // SAFETY: the mask is below the length of the index.
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
        let index = self.header.named as usize + 1;
        if index >= MAX_CONTEXTS {
            self.header.overflowed += 1;
            return 0;
        }
        self.header.named = index as u64;
        self.index[slot] = index as u16;
        self.records[index].context = context;
        if index * 2 > self.slot_mask() && self.slot_mask() < SLOTS - 1 {
            self.use_more_slots();
        }
        index as u32 | NEW
    }

    #[inline(always)]
    fn slot_mask(&self) -> usize {
        self.more_slots | (FIRST_SLOTS - 1)
    }

    /// Twice as many: every context goes where it would have been put among them.
    fn use_more_slots(&mut self) {
        self.more_slots = 2 * self.slot_mask() + 1;
        let mask = self.slot_mask();
        self.index[..=mask].fill(0);
        for index in 1..=self.header.named as usize {
            let mut slot = self.records[index].context as usize & mask;
            while self.index[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.index[slot] = index as u16;
        }
    }

    /// A block of `size` bytes came into being in a context.
    #[inline(always)]
    pub fn allocate(&mut self, index: u32, size: u32) {
        self.record(index).allocate(size);
        self.header.live_bytes = self.header.live_bytes.wrapping_add(u64::from(size));
    }

    /// A block of `size` bytes of a context is no more.
    #[inline(always)]
    pub fn free(&mut self, index: u32, size: u32) {
        self.record(index).free(size);
        self.header.live_bytes = self.header.live_bytes.wrapping_sub(u64::from(size));
    }

    /// A block of `size` bytes belongs to another context after all.
    #[inline(always)]
    pub fn move_block(&mut self, from: u32, to: u32, size: u32) {
        self.record(from).give_away(size);
        self.record(to).allocate(size);
    }

    /// The record of an index; the mark of a new one is ignored.
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
    /// A block of `size` bytes came into being.
    #[inline(always)]
    fn allocate(&mut self, size: u32) {
        self.allocated[0] += u64::from(size);
        self.allocated[1] += 1;
    }

    /// One of its blocks, of `size` bytes, is no more.
    #[inline(always)]
    fn free(&mut self, size: u32) {
        self.freed[0] += u64::from(size);
        self.freed[1] += 1;
    }

    /// One of its blocks belongs to another context after all.
    #[inline(always)]
    fn give_away(&mut self, size: u32) {
        self.allocated[0] -= u64::from(size);
        self.allocated[1] -= 1;
    }
}
