//! What can be read of an instance.

use crate::bindings::exports::leak_lab::plugin::leak as wit;

/// Upper bound of the numbers that a guest reports. JSON represents whole numbers exactly up to
/// this value, and sums of them fit into 64 bits.
const REPORTED_MAX: u64 = 1 << 53;

/// What a pattern retains, as the guest reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Objects, in the manifest's unit.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

impl From<wit::Retention> for Retained {
    fn from(reported: wit::Retention) -> Self {
        Retained {
            objects: reported.objects.min(REPORTED_MAX),
            bytes: reported.bytes.min(REPORTED_MAX),
        }
    }
}

/// The linear memory of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinearMemory {
    /// Current size in bytes. It never shrinks.
    pub bytes: u64,
    /// The limit in bytes.
    pub limit: u64,
    /// Growths granted.
    pub grows: u64,
    /// Growths denied.
    pub(crate) denials: u64,
}

/// Totals of an instance's heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeapSummary {
    /// Bytes that the guest has allocated and not freed.
    pub live_bytes: u64,
    /// What the profiler has seen of the guest's memory.
    pub coverage: guest_heap::Coverage,
    /// Bytes of the profiler's own memory in the guest.
    pub profiler_bytes: u64,
}

/// The heap tables of an instance at one point in time.
#[derive(Debug)]
pub struct HeapTables {
    /// The live bytes and objects of each call stack.
    pub reading: guest_heap::Reading,
    /// The call stacks that the reader did not have yet, by index.
    pub contexts: Vec<(u32, guest_heap::Context)>,
    /// Bytes of the host's memory that the call stacks take.
    pub recorder_bytes: usize,
}

/// The guest's answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestOutcome {
    /// Whether the pattern ran.
    pub triggered: bool,
    /// What the pattern retains now.
    pub retained: Retained,
}
