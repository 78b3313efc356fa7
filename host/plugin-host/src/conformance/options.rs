//! How a component is checked, and what bounds a check.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Requests of one run by default.
pub const REQUESTS: u32 = 200;
/// The accepted numbers of requests of one run. With fewer, growth looks like a warm-up.
pub const REQUESTS_RANGE: RangeInclusive<u32> = 50..=5000;
/// The longest that a whole check may take.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(60);
/// The most linear memory of a component during its check, in bytes.
pub(crate) const MAX_MEMORY_BYTES: u64 = 512 << 20;

/// How a component is checked.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// Requests of one run.
    pub requests: u32,
    /// The longest that one call may take.
    pub deadline: Duration,
}
