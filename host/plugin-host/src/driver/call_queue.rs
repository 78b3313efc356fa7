//! Bounds the calls that wait for one driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most calls that wait for a busy plugin. At about 10 µs a call, this is 20 ms of work. Calls
/// that wait for a slow plugin time out.
const MAX_QUEUED_CALLS: usize = 2048;

/// The number of calls that wait for one driver.
#[derive(Debug, Default)]
pub(crate) struct CallQueue(AtomicUsize);

/// Places in a [`CallQueue`]. Dropping it frees them.
#[derive(Debug)]
pub(crate) struct QueuePlaces {
    queue: Arc<CallQueue>,
    count: usize,
}

impl CallQueue {
    /// Takes as many of the `wanted` places as there are.
    pub(crate) fn take(self: &Arc<Self>, wanted: usize) -> QueuePlaces {
        let before = self.0.fetch_add(wanted, Ordering::Relaxed);
        let count = MAX_QUEUED_CALLS.saturating_sub(before).min(wanted);
        self.0.fetch_sub(wanted - count, Ordering::Relaxed);
        QueuePlaces {
            queue: self.clone(),
            count,
        }
    }
}

impl QueuePlaces {
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for QueuePlaces {
    fn drop(&mut self) {
        self.queue.0.fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_never_has_more_places_than_its_limit() {
        let queue = Arc::new(CallQueue::default());
        let most = queue.take(MAX_QUEUED_CALLS - 3);
        assert_eq!(most.count(), MAX_QUEUED_CALLS - 3);
        let rest = queue.take(5);
        assert_eq!(rest.count(), 3);
        assert_eq!(queue.take(5).count(), 0);
        drop(most);
        let one = queue.take(1);
        assert_eq!(one.count(), 1);
        drop((rest, one));
        assert_eq!(queue.take(MAX_QUEUED_CALLS + 1).count(), MAX_QUEUED_CALLS);
    }
}
