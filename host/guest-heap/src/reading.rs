//! What the books of one guest say at one moment, before any symbol is resolved.

use std::sync::Arc;

/// The counters of one calling context since the instance started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContextRecord {
    /// Which context, as the recorder numbers them within one instance.
    pub index: u32,
    /// Bytes ever allocated here.
    pub allocated_bytes: u64,
    /// Bytes allocated here and freed since, wherever that happened.
    pub freed_bytes: u64,
    /// Blocks ever allocated here.
    pub allocated_objects: u64,
    /// Blocks allocated here and freed since.
    pub freed_objects: u64,
}

/// Sums over all contexts, and what could not be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Bytes handed out by the guest's allocator and not got back.
    pub live_bytes: u64,
    /// Blocks handed out and not got back.
    pub live_objects: u64,
    /// Bytes ever handed out.
    pub allocated_bytes: u64,
    /// Blocks ever handed out.
    pub allocated_objects: u64,
    /// Distinct calling contexts seen.
    pub contexts: u64,
    /// Contexts that share the overflow entry.
    pub overflowed: u64,
    /// Events that could not be booked.
    pub lost: u64,
    /// Frees of blocks that the books do not know.
    pub unknown_frees: u64,
}

/// The books of one guest at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The sums, as the books keep them.
    pub totals: Totals,
    /// One record per context.
    pub contexts: Vec<ContextRecord>,
}

/// What a context stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Context {
    /// A call stack: offsets in the original component, innermost first.
    Stack(Arc<[u32]>),
    /// Something that has no stack of the guest's own, such as the arguments of an export.
    Special(Arc<str>),
}
