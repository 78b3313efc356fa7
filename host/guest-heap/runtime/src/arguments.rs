//! Blocks that the host has filled with arguments, until the export says its name.
//!
//! Arguments are lowered before the export is entered, so that nobody knows yet whose they are.

/// Arguments of one call that are kept. Of a call with more blocks the rest stays under
/// "arguments", without the export's name.
const MOST: usize = 16_384;

/// Addresses of the blocks.
pub struct Arguments {
    blocks: [u32; MOST],
    count: usize,
}

impl Arguments {
    /// None.
    pub const fn new() -> Self {
        Self {
            blocks: [0; MOST],
            count: 0,
        }
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keeps one.
    pub fn push(&mut self, pointer: u32) {
        if let Some(slot) = self.blocks.get_mut(self.count) {
            *slot = pointer;
            self.count += 1;
        }
    }

    /// All of them; none are kept any longer.
    pub fn take(&mut self) -> &[u32] {
        let count = core::mem::take(&mut self.count);
        self.blocks.get(..count).unwrap_or_default()
    }
}
