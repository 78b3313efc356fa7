//! Blocks that the host has filled with arguments of a call whose export is not known yet.
//!
//! The host lowers arguments before it enters the export, so the runtime attributes these blocks to
//! the export only when the export's wrapper runs.

/// Argument blocks of one call that are kept. The further blocks of a larger call stay in the
/// context "arguments", without the export's name.
const MAX_BLOCKS: usize = 16_384;

/// Addresses of the argument blocks of the next call.
pub struct ArgumentBlocks {
    blocks: [u32; MAX_BLOCKS],
    count: usize,
}

impl ArgumentBlocks {
    /// An empty list, all zero, so that it takes no space in the runtime's binary.
    pub const fn new() -> Self {
        Self {
            blocks: [0; MAX_BLOCKS],
            count: 0,
        }
    }

    /// Whether the list holds no block.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a block; a full list ignores it.
    pub fn push(&mut self, pointer: u32) {
        if let Some(slot) = self.blocks.get_mut(self.count) {
            *slot = pointer;
            self.count += 1;
        }
    }

    /// Returns all blocks and empties the list.
    pub fn take(&mut self) -> &[u32] {
        let count = core::mem::take(&mut self.count);
        self.blocks.get(..count).unwrap_or_default()
    }
}
