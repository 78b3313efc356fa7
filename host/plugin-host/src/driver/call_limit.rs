//! Bounds the calls that wait for one driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most calls that wait for a busy plugin. At about 10 µs a call, this is 160 ms of work. Calls
/// that wait for a slow plugin time out.
const MAX_QUEUED_CALLS: usize = 16_384;

/// The number of calls that wait for one driver.
#[derive(Debug, Default)]
pub(crate) struct CallLimit(AtomicUsize);

/// Permits of a [`CallLimit`]. Dropping it returns them.
#[derive(Debug)]
pub(crate) struct CallPermits {
    limit: Arc<CallLimit>,
    count: usize,
}

impl CallLimit {
    /// Takes as many of the `wanted` permits as there are.
    pub(crate) fn take(self: &Arc<Self>, wanted: usize) -> CallPermits {
        let before = self.0.fetch_add(wanted, Ordering::Relaxed);
        let count = MAX_QUEUED_CALLS.saturating_sub(before).min(wanted);
        self.0.fetch_sub(wanted - count, Ordering::Relaxed);
        CallPermits {
            limit: self.clone(),
            count,
        }
    }
}

impl CallPermits {
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for CallPermits {
    fn drop(&mut self) {
        self.limit.0.fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_permits_than_the_limit() {
        let limit = Arc::new(CallLimit::default());
        let most = limit.take(MAX_QUEUED_CALLS - 3);
        assert_eq!(most.count(), MAX_QUEUED_CALLS - 3);
        let rest = limit.take(5);
        assert_eq!(rest.count(), 3);
        assert_eq!(limit.take(5).count(), 0);
        drop(most);
        let one = limit.take(1);
        assert_eq!(one.count(), 1);
        drop((rest, one));
        assert_eq!(limit.take(MAX_QUEUED_CALLS + 1).count(), MAX_QUEUED_CALLS);
    }
}
