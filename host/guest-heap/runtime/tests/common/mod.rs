//! Memory for the tables, and numbers.

use guest_heap_runtime::live::{Bucket, FIRST_BYTES, Region};

/// Memory that grows up to a limit.
pub struct Memory {
    bytes: Vec<Aligned>,
    limit: usize,
}

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Aligned(#[allow(dead_code)] [u8; 64]);

impl Memory {
    /// All of it is there from the start, since a vector that grows would move.
    pub fn new(most: usize, limit: usize) -> Self {
        Self {
            bytes: vec![Aligned([0; 64]); most / 64],
            limit,
        }
    }
}

// SAFETY: the vector is never resized, and only the table uses it.
unsafe impl Region for Memory {
    fn base(&self) -> *mut Bucket {
        self.bytes.as_ptr().cast_mut().cast()
    }

    fn ensure(&mut self, bytes: usize) -> bool {
        bytes <= self.limit && bytes <= self.bytes.len() * 64
    }
}

/// Bytes for a table of about so many blocks.
pub fn bytes_for(blocks: u32) -> usize {
    FIRST_BYTES
        .max(blocks as usize * 16 + 2048)
        .next_power_of_two()
        * 2
}

/// Marsaglia's xorshift, always from the same seed.
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    #[allow(dead_code, reason = "not every test wants one")]
    pub fn below(&mut self, end: u32) -> u32 {
        ((self.next() >> 32) as u32) % end
    }
}
