//! What a test has found, in one sentence with its evidence.

use guest_heap::grouped;

/// What a test has found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Lines hold more in every window.
    Leak { lines: usize, bytes_per_round: f64 },
    /// Lines have more handles in every window, and none holds more memory.
    HandlesLeak {
        lines: usize,
        handles_per_round: f64,
    },
    /// Memory grows in every window, and the profiler does not see the blocks.
    UnseenGrowth { bytes_per_round: f64 },
    /// The live bytes stay the same and linear memory grows in every window: the allocator cannot
    /// use its free memory, or has not returned it.
    AllocatorHoldsMemory {
        linear_bytes_per_round: f64,
        live_bytes: u64,
        linear_bytes: u64,
    },
    /// Lines grow in every window, and less each time.
    FillingCache { lines: usize },
    /// Nothing grows in every window.
    NoLeak,
}

impl Verdict {
    /// Whether the test fails for it.
    pub(super) fn is_leak(&self) -> bool {
        match self {
            Self::Leak { .. }
            | Self::HandlesLeak { .. }
            | Self::UnseenGrowth { .. }
            | Self::AllocatorHoldsMemory { .. } => true,
            Self::FillingCache { .. } | Self::NoLeak => false,
        }
    }

    /// A name for programs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Leak { .. } => "leak",
            Self::HandlesLeak { .. } => "handles-leak",
            Self::UnseenGrowth { .. } => "unseen-growth",
            Self::AllocatorHoldsMemory { .. } => "allocator-holds-memory",
            Self::FillingCache { .. } => "filling-cache",
            Self::NoLeak => "no-leak",
        }
    }

    /// One sentence with the evidence.
    pub(super) fn sentence(&self, rounds: u64) -> String {
        match self {
            Self::Leak {
                lines,
                bytes_per_round,
            } => format!(
                "your code leaks: {} grew in every window, by {} bytes per round",
                counted(*lines, "line"),
                rounded(*bytes_per_round)
            ),
            Self::HandlesLeak {
                lines,
                handles_per_round,
            } => format!(
                "handles leak: {} got more in every window, by {} handles per round",
                counted(*lines, "line"),
                rounded(*handles_per_round)
            ),
            Self::UnseenGrowth { bytes_per_round } => format!(
                "memory grows by {} bytes per round, and no allocator entry point made it grow",
                rounded(*bytes_per_round)
            ),
            Self::AllocatorHoldsMemory {
                linear_bytes_per_round,
                live_bytes,
                linear_bytes,
            } => format!(
                "your allocator holds free memory: linear memory grew in every window, by {} bytes \
                 per round to {} bytes, while {} bytes are live and do not grow",
                rounded(*linear_bytes_per_round),
                grouped(*linear_bytes),
                grouped(*live_bytes)
            ),
            Self::FillingCache { lines } => format!(
                "it is filling a cache: {} grew in every window, and less each time; test with \
                 more --rounds to see the end",
                counted(*lines, "line")
            ),
            Self::NoLeak => format!("no leak in {} rounds", grouped(rounds)),
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// Bytes per round, with one decimal if the number is small and not whole.
pub(super) fn rounded(bytes: f64) -> String {
    if bytes >= 1000.0 || (bytes - bytes.round()).abs() < 0.05 {
        grouped(bytes.round().max(0.0) as u64)
    } else {
        format!("{bytes:.1}")
    }
}
