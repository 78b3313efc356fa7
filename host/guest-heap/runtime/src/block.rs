//! A live block, and the packed form in which the live table keeps it.

use crate::contexts::CONTEXT_BITS;

/// Bits of a packed value that hold the size; the other [`CONTEXT_BITS`] hold the context.
const SIZE_BITS: u32 = 32 - CONTEXT_BITS;

/// Sizes below this many bytes fit into a packed value. A packed size equal to this constant means
/// that [`LargeSizes`](crate::large::LargeSizes) holds the size.
pub const MAX_PACKED_SIZE: u32 = (1 << SIZE_BITS) - 1;

/// A block as the live table reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Bytes, as the guest requested them.
    pub size: u32,
    /// Index of the context that the block belongs to.
    pub context: u32,
}

/// A block's address and its packed value.
#[derive(Clone, Copy)]
pub(crate) struct LiveEntry {
    /// 0 in an empty entry.
    pub(crate) pointer: u32,
    /// Context and size, see [`pack_small`].
    pub(crate) value: u32,
}

impl LiveEntry {
    pub(crate) const EMPTY: Self = Self {
        pointer: 0,
        value: 0,
    };
}

/// Packs a context and a size of at most [`MAX_PACKED_SIZE`].
#[inline(always)]
pub(crate) const fn pack_small(size: u32, context: u32) -> u32 {
    context << SIZE_BITS | size
}

/// Unpacks a value. A size of [`MAX_PACKED_SIZE`] is a placeholder for a large size.
#[inline(always)]
pub(crate) const fn unpack_small(value: u32) -> Block {
    Block {
        size: value & MAX_PACKED_SIZE,
        context: value >> SIZE_BITS,
    }
}
