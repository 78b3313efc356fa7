//! Folded call stacks: contexts that found the context table full.
//!
//! The host folds the call stack of such a context: it omits repeated calls of a function and, if
//! there are too many call stacks even so, outer frames. It returns the index of a record that all
//! contexts with the same folded call stack share. The runtime keeps the index of the most recent
//! contexts, so that it rarely asks again.

use crate::contexts::{FIRST_FOLDED, MAX_CONTEXTS};

/// Contexts that the runtime keeps at most.
const SLOTS: usize = 1 << 14;

#[derive(Clone, Copy)]
struct Fold {
    /// 0 in a free slot.
    context: u64,
    index: u32,
}

/// Context → index of its folded call stack, for the most recent contexts.
pub struct Folds([Fold; SLOTS]);

impl Folds {
    /// No contexts: all zero, so that the table takes no space in the runtime's binary.
    pub const fn new() -> Self {
        Self(
            [Fold {
                context: 0,
                index: 0,
            }; SLOTS],
        )
    }

    /// The index of a context that the table still holds.
    pub fn find(&self, context: u64) -> Option<u32> {
        let fold = self.0[context as usize % SLOTS];
        (fold.context == context && context != 0).then_some(fold.index)
    }

    /// Keeps the index of a context, which may take the place of another context. Returns the
    /// index, or the overflow if it is no index of a folded call stack.
    pub fn insert(&mut self, context: u64, index: u32) -> u32 {
        if !(FIRST_FOLDED..MAX_CONTEXTS).contains(&(index as usize)) {
            return 0;
        }
        self.0[context as usize % SLOTS] = Fold { context, index };
        index
    }
}

impl Default for Folds {
    fn default() -> Self {
        Self::new()
    }
}
