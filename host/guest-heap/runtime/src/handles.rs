//! The ledger of handles: for each calling context and type, how many handles the guest has got and
//! how many of them it has dropped or passed on.
//!
//! A component instance has one table of handles for all types, so a number identifies a handle as
//! long as it lives. The component model gives a free number out again. If a number is handed out
//! that the ledger still has, its former owner has ended where the ledger could not see it, and the
//! ledger counts it as ended then.

/// Numbers of handles that the ledger follows. Handles with larger numbers only count as untracked.
pub const MAX_HANDLES: usize = 1 << 16;

/// Types of handles. The instrumenter assigns the numbers.
pub const MAX_TYPES: usize = 256;

/// Slots for entries with a context. Their number is a power of two.
const SLOTS: usize = 1 << 12;

/// Entries with a context at most, so that a search soon meets a free slot.
const MAX_USED: u64 = (SLOTS / 4 * 3) as u64;

/// All entries. The first [`MAX_TYPES`] are for handles of each type whose context has no entry.
pub const MAX_ENTRIES: usize = MAX_TYPES + SLOTS;

/// The handles of one type that one context has got. The host reads three words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Index of the context.
    pub context: u32,
    /// Number of the type.
    pub ty: u32,
    /// Handles that the context has ever got.
    pub made: u64,
    /// Of these, handles that were dropped or passed on.
    pub ended: u64,
}

/// The counts, which the host reads in place.
#[repr(C, align(64))]
pub struct HandleCounts {
    /// Handles whose number is too large to follow them. They are in no entry.
    pub untracked: u64,
    /// Entries with a context.
    used: u64,
    /// 1 when any handle has been counted.
    pub is_used: u64,
    reserved: [u64; 5],
    entries: [Entry; MAX_ENTRIES],
}

/// For each number of a handle: its entry plus one, or 0.
pub struct HandleNumbers([u16; MAX_HANDLES]);

impl HandleNumbers {
    /// No handle. All zero, so that it takes no space in the runtime's binary.
    pub const fn new() -> Self {
        Self([0; MAX_HANDLES])
    }
}

impl Default for HandleNumbers {
    fn default() -> Self {
        Self::new()
    }
}

impl HandleCounts {
    /// No counts, all zero.
    pub const fn new() -> Self {
        const EMPTY: Entry = Entry {
            context: 0,
            ty: 0,
            made: 0,
            ended: 0,
        };
        Self {
            untracked: 0,
            used: 0,
            is_used: 0,
            reserved: [0; 5],
            entries: [EMPTY; MAX_ENTRIES],
        }
    }

    /// Counts a new handle in a context. Index 0 stands for contexts without a record.
    pub fn made(&mut self, numbers: &mut HandleNumbers, handle: u32, context: u32, ty: u32) {
        if handle == 0 {
            return;
        }
        self.is_used = 1;
        let at = self.entry(context, ty);
        let Some(number) = numbers.0.get_mut(handle as usize) else {
            self.untracked += 1;
            return;
        };
        let before = core::mem::replace(number, at as u16 + 1);
        self.end(before);
        if let Some(entry) = self.entries.get_mut(at) {
            entry.made += 1;
        }
    }

    /// Counts the end of a handle in the context that has got it. Ignores an unknown number, such
    /// as that of a borrowed handle.
    pub fn ended(&mut self, numbers: &mut HandleNumbers, handle: u32) {
        if let Some(number) = numbers.0.get_mut(handle as usize) {
            let before = core::mem::take(number);
            self.end(before);
        }
    }

    /// The entries that have ever counted a handle.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.made > 0)
    }

    /// Counts an end in the entry before this number.
    fn end(&mut self, number: u16) {
        let at = (number as usize).wrapping_sub(1);
        if let Some(entry) = self.entries.get_mut(at) {
            entry.ended += 1;
        }
    }

    /// The position of the entry of a context and a type.
    fn entry(&mut self, context: u32, ty: u32) -> usize {
        let ty = if (ty as usize) < MAX_TYPES { ty } else { 0 };
        let mut slot = (context.wrapping_mul(0x9E37_79B1) ^ ty.wrapping_mul(0x85EB_CA6B)) >> 16;
        // Context 0 counts by type only.
        let probes = if context == 0 { 0 } else { SLOTS };
        for _ in 0..probes {
            let at = MAX_TYPES + (slot as usize & (SLOTS - 1));
            let Some(entry) = self.entries.get_mut(at) else {
                break;
            };
            if entry.context == context && entry.ty == ty {
                return at;
            }
            if entry.context == 0 {
                if self.used >= MAX_USED {
                    break;
                }
                self.used += 1;
                (entry.context, entry.ty) = (context, ty);
                return at;
            }
            slot = slot.wrapping_add(1);
        }
        if let Some(entry) = self.entries.get_mut(ty as usize) {
            entry.ty = ty;
        }
        ty as usize
    }
}

impl Default for HandleCounts {
    fn default() -> Self {
        Self::new()
    }
}
