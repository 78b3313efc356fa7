//! One reading of a guest, and how many windows they are split into.

/// Windows of a verdict.
pub const WINDOWS: usize = 4;

/// What was read of a guest at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<T> {
    /// When it was read, on the clock of the caller.
    pub at: T,
    /// Calls that the guest had served until then.
    pub calls: u64,
    /// Live bytes.
    pub live_bytes: u64,
    /// Bytes of linear memory, without the profiler's own.
    pub linear_bytes: u64,
    /// Bytes by which memory has grown without an allocator entry point.
    pub unseen_bytes: u64,
}
