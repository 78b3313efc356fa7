//! How precisely the heap of a component is attributed.

/// What the profiler may miss in a component, as far as it is known before the component runs.
///
/// It decides how live bytes are to be read: see [`Coverage::live_range`](crate::Coverage::live_range).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Blocks may be freed where no hook sees it, so live bytes may be too large.
    pub frees: bool,
    /// Blocks may be allocated where no hook sees it, so live bytes may be too small.
    pub allocations: bool,
    /// A memory of the component may be in no count, so live bytes have no upper bound.
    pub memories: bool,
}

impl Missing {
    pub(super) const FREES: Self = Self {
        frees: true,
        allocations: false,
        memories: false,
    };
    pub(super) const ALLOCATIONS: Self = Self {
        frees: false,
        allocations: true,
        memories: false,
    };
    pub(super) const BOTH: Self = Self {
        frees: true,
        allocations: true,
        memories: false,
    };
    pub(super) const MEMORIES: Self = Self {
        frees: true,
        allocations: true,
        memories: true,
    };

    pub(super) fn add(&mut self, other: Self) {
        self.frees |= other.frees;
        self.allocations |= other.allocations;
        self.memories |= other.memories;
    }
}

/// Why the attribution is partial, and what the profiler may miss for that.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    pub(super) reasons: Vec<String>,
    pub(super) missing: Missing,
}

impl Gaps {
    pub(super) fn push(&mut self, reason: String, missing: Missing) {
        if self.reasons.last() != Some(&reason) {
            self.reasons.push(reason);
        }
        self.missing.add(missing);
    }
}

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

impl Attribution {
    /// Whether the counts of blocks are a measurement, if the guest has ever allocated so many
    /// blocks. Otherwise they are 0 because no hook runs, and only linear memory says how much the
    /// guest takes.
    pub fn measures_blocks(&self, allocated_objects: u64) -> bool {
        match self {
            Self::Exact => true,
            Self::Partial { .. } => allocated_objects > 0,
            Self::Off { .. } => false,
        }
    }
}
