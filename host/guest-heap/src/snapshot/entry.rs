//! The entries of a snapshot.

use std::sync::Arc;

use crate::reading::Context;
use crate::symbols::Site;

/// How much memory a context or a group holds, and how much it has ever allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes allocated and not freed.
    pub live_bytes: u64,
    /// Blocks allocated and not freed.
    pub live_objects: u64,
    /// Bytes ever allocated.
    pub allocated_bytes: u64,
    /// Blocks ever allocated.
    pub allocated_objects: u64,
}

impl Usage {
    pub(crate) fn add(&mut self, other: Usage) {
        self.live_bytes += other.live_bytes;
        self.live_objects += other.live_objects;
        self.allocated_bytes += other.allocated_bytes;
        self.allocated_objects += other.allocated_objects;
    }
}

/// One context of a snapshot.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The call stack, or the name of a synthetic context.
    pub context: Context,
    /// The source line that the context is attributed to.
    pub site: Arc<Site>,
    /// The memory of the context.
    pub usage: Usage,
}
