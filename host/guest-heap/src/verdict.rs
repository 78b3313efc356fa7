//! Whether a guest leaks, and what holds the memory if not: one sentence with its evidence.
//!
//! A verdict compares *floors*. The calls of a guest are split into windows, and the floor of a
//! window is the smallest size that was read in it. A collector or a cache moves the size up and
//! down; only memory that is never freed raises the floor of every window. So guests with a
//! collector are judged by the same rule as others.
//!
//! The functions are pure: the caller reads the guest and decides on the windows.
//!
//! | verdict | evidence |
//! |---|---|
//! | [`Leak`](Verdict::Leak) | the floors of lines rise in every window |
//! | [`HandlesLeak`](Verdict::HandlesLeak) | the floors of live handles rise in every window |
//! | [`UnseenGrowth`](Verdict::UnseenGrowth) | memory grows without an allocator entry point |
//! | [`FillingCache`](Verdict::FillingCache) | the floors rise, and less per call each time |
//! | [`AllocatorHoldsMemory`](Verdict::AllocatorHoldsMemory) | linear memory rises, live bytes do not |
//! | [`CollectorHasNotRun`](Verdict::CollectorHasNotRun) | live bytes are far above a flat floor |
//! | [`HostLeaks`](Verdict::HostLeaks) | resident memory grows, and no guest does |
//! | [`NoLeak`](Verdict::NoLeak) | nothing of these |

mod collections;
mod floors;
mod sample;
mod windows;

use crate::numbers::grouped;

pub use collections::Collections;
pub use floors::{FloorSeries, LineFloors};
pub use sample::{Sample, WINDOWS};
pub use windows::Windows;

/// Live bytes that are less than this above their floor are ordinary work, not garbage.
const MIN_GARBAGE_BYTES: u64 = 65_536;

/// The host leaks if the guests explain less than this share of the growth.
const MAX_GUEST_SHARE: f64 = 0.25;

/// What was read of one guest. All series have one floor per window.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Calls that had been made when each window began.
    pub calls: &'a [u64],
    /// The lines whose floors differ between windows.
    pub lines: &'a [LineFloors],
    /// Live bytes of all lines.
    pub live: &'a FloorSeries,
    /// Bytes of linear memory, without the profiler's own.
    pub linear: &'a FloorSeries,
    /// Bytes by which memory grew without an allocator entry point.
    pub unseen: &'a FloorSeries,
    /// Live bytes now.
    pub live_now: u64,
    /// Growth of the number of handles.
    pub handles: HandleGrowth,
}

/// The lines whose floors of live handles rise in every window, and not less each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandleGrowth {
    /// The number of pairs of a line and a type of handle.
    pub lines: usize,
    /// Handles that they gain together from the first window to the last.
    pub handles: i64,
}

/// What was read of a process and its guests over one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostEvidence {
    /// Growth of the resident memory, in bytes per second. Zero if it is within the noise.
    pub resident_bytes_per_second: f64,
    /// Growth of all guests together: their memory and the tables of the profiler.
    pub guests_bytes_per_second: f64,
}

/// What holds the memory of a guest.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Lines hold more in every window.
    Leak {
        /// The number of these lines.
        lines: usize,
        /// What they gain together.
        bytes_per_call: f64,
    },
    /// Lines have more handles in every window, and none holds more memory.
    HandlesLeak {
        /// The number of these lines.
        lines: usize,
        /// What they gain together.
        handles_per_call: f64,
    },
    /// Memory grows in every window, and the profiler does not see the blocks.
    UnseenGrowth {
        /// Growth of this memory.
        bytes_per_call: f64,
    },
    /// The live bytes stay the same and linear memory grows in every window: the allocator cannot
    /// use its free memory, or has not returned it.
    AllocatorHoldsMemory {
        /// Growth of linear memory.
        linear_bytes_per_call: f64,
        /// Live bytes at the end.
        live_bytes: u64,
        /// Bytes of linear memory at the end.
        linear_bytes: u64,
    },
    /// Much more is live than the floor, and the floor does not rise: garbage that a collector has
    /// not freed, or a batch in progress.
    CollectorHasNotRun {
        /// Live bytes at the end.
        live_bytes: u64,
        /// The floor of the last window.
        floor_bytes: u64,
    },
    /// Lines grow in every window, and less each time.
    FillingCache {
        /// The number of these lines.
        lines: usize,
    },
    /// The guests stay the same, and the resident memory of the process grows.
    HostLeaks {
        /// Growth of the process without that of the guests.
        bytes_per_second: f64,
    },
    /// Nothing grows in every window.
    NoLeak,
}

impl Verdict {
    /// The verdict on one guest.
    pub fn of_guest(evidence: &Evidence<'_>) -> Self {
        let calls = evidence.calls_between() as f64;
        let rising = || evidence.lines.iter().filter(|line| line.bytes.rises());
        let slows = |line: &&LineFloors| line.bytes.slows(evidence.calls);
        let leaking: Vec<&LineFloors> = rising().filter(|line| !slows(line)).collect();
        if !leaking.is_empty() {
            let growth: i64 = leaking.iter().map(|line| line.bytes.growth()).sum();
            return Self::Leak {
                lines: leaking.len(),
                bytes_per_call: growth as f64 / calls,
            };
        }
        if evidence.handles.lines > 0 {
            return Self::HandlesLeak {
                lines: evidence.handles.lines,
                handles_per_call: evidence.handles.handles as f64 / calls,
            };
        }
        if evidence.unseen.rises() {
            return Self::UnseenGrowth {
                bytes_per_call: evidence.unseen.growth() as f64 / calls,
            };
        }
        let slowing = rising().count();
        if slowing > 0 {
            return Self::FillingCache { lines: slowing };
        }
        if evidence.linear.rises() && !evidence.live.rises() {
            return Self::AllocatorHoldsMemory {
                linear_bytes_per_call: evidence.linear.growth() as f64 / calls,
                live_bytes: evidence.live.last(),
                linear_bytes: evidence.linear.last(),
            };
        }
        let floor = evidence.live.last();
        let garbage = evidence.live_now.saturating_sub(floor);
        if garbage >= MIN_GARBAGE_BYTES.max(floor) && !evidence.live.rises() {
            return Self::CollectorHasNotRun {
                live_bytes: evidence.live_now,
                floor_bytes: floor,
            };
        }
        Self::NoLeak
    }

    /// The verdict on the process, if its guests do not explain its growth.
    pub fn of_host(evidence: HostEvidence) -> Option<Self> {
        let HostEvidence {
            resident_bytes_per_second: resident,
            guests_bytes_per_second: guests,
        } = evidence;
        let is_host = resident > 0.0 && guests < resident * MAX_GUEST_SHARE;
        is_host.then(|| Self::HostLeaks {
            bytes_per_second: resident - guests.max(0.0),
        })
    }

    /// Whether memory is lost for good, so that a test fails for it.
    pub fn is_leak(&self) -> bool {
        match self {
            Self::Leak { .. }
            | Self::HandlesLeak { .. }
            | Self::UnseenGrowth { .. }
            | Self::AllocatorHoldsMemory { .. }
            | Self::HostLeaks { .. } => true,
            Self::FillingCache { .. } | Self::CollectorHasNotRun { .. } | Self::NoLeak => false,
        }
    }

    /// A name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Leak { .. } => "leak",
            Self::HandlesLeak { .. } => "handles-leak",
            Self::UnseenGrowth { .. } => "unseen-growth",
            Self::AllocatorHoldsMemory { .. } => "allocator-holds-memory",
            Self::CollectorHasNotRun { .. } => "collector-has-not-run",
            Self::FillingCache { .. } => "filling-cache",
            Self::HostLeaks { .. } => "host-leaks",
            Self::NoLeak => "no-leak",
        }
    }

    /// One sentence with the evidence. `calls` is the number of calls that were observed, and
    /// `call` is the word for one of them: `round`, `request`.
    pub fn sentence(&self, calls: u64, call: &str) -> String {
        match self {
            Self::Leak {
                lines,
                bytes_per_call,
            } => format!(
                "your code leaks: {} grew in every window, by {} bytes per {call}",
                counted(*lines as u64, "line"),
                rounded(*bytes_per_call)
            ),
            Self::HandlesLeak {
                lines,
                handles_per_call,
            } => format!(
                "handles leak: {} got more in every window, by {} per {call}",
                counted(*lines as u64, "line"),
                match rounded(*handles_per_call).as_str() {
                    "1" => "1 handle".to_owned(),
                    number => format!("{number} handles"),
                }
            ),
            Self::UnseenGrowth { bytes_per_call } => format!(
                "memory grows by {} bytes per {call}, and the profiler does not see its allocations",
                rounded(*bytes_per_call)
            ),
            Self::AllocatorHoldsMemory {
                linear_bytes_per_call,
                live_bytes,
                linear_bytes,
            } => format!(
                "your allocator holds free memory: linear memory grew in every window, by {} bytes \
                 per {call} to {} bytes, while {} bytes are live and do not grow",
                rounded(*linear_bytes_per_call),
                grouped(*linear_bytes),
                grouped(*live_bytes)
            ),
            Self::CollectorHasNotRun {
                live_bytes,
                floor_bytes,
            } => format!(
                "your collector has not run: {} bytes are live, and the floor stays at {} bytes",
                grouped(*live_bytes),
                grouped(*floor_bytes)
            ),
            Self::FillingCache { lines } => format!(
                "it is filling a cache: {} grew in every window, and less each time; test with \
                 more {call}s to see the end",
                counted(*lines as u64, "line")
            ),
            Self::HostLeaks { bytes_per_second } => format!(
                "the host leaks, not the guest: resident memory grows by {} bytes per second, and \
                 no guest grows",
                rounded(*bytes_per_second)
            ),
            Self::NoLeak => format!("no leak in {}", counted(calls, call)),
        }
    }
}

impl Evidence<'_> {
    /// Calls between the first window and the last, at least one.
    fn calls_between(&self) -> u64 {
        let first = self.calls.first().copied().unwrap_or_default();
        let last = self.calls.last().copied().unwrap_or_default();
        last.saturating_sub(first).max(1)
    }
}

fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{} {what}s", grouped(number)),
    }
}

/// Bytes per call, with one decimal if the number is small and not whole.
pub fn rounded(bytes: f64) -> String {
    if bytes >= 1000.0 || (bytes - bytes.round()).abs() < 0.05 {
        grouped(bytes.round().max(0.0) as u64)
    } else {
        format!("{bytes:.1}")
    }
}

#[cfg(test)]
mod tests;
