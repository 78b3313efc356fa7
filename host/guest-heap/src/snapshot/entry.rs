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

/// What a context has done to blocks that existed already.
///
/// A block belongs to the context that has resized it last. Other code may have allocated it, and
/// may fill it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// Blocks that the context has ever resized.
    pub objects: u64,
    /// The part of the live bytes that the context has added itself. See
    /// [`ContextRecord::own_live_bytes`](crate::ContextRecord::own_live_bytes).
    pub own_bytes: u64,
    /// The line of the other context that the last block came from.
    pub from: Option<Arc<Site>>,
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
    /// Set if the context has resized blocks.
    pub resized: Option<Box<Resized>>,
}
