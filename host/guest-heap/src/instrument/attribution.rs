//! How precisely the heap of a component is attributed.

/// How precisely the heap of a component is attributed to call stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// The profiler attributes every block, from instantiation on.
    Exact,
    /// The counts are right for the blocks that the profiler sees. It misses some blocks, or
    /// attributes some to a name that is coarser than their call stack.
    Partial {
        /// What is missing or coarse, as text for a status page.
        why: String,
    },
    /// The profiler attributes nothing: the component is unchanged.
    Off {
        /// The reason, as text for a status page.
        why: String,
    },
}
