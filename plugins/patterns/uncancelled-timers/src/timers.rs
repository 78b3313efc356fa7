//! Interval timers, as in most runtimes: a callback runs at intervals until its timer is cancelled.

use std::collections::VecDeque;

use leak_plugin_sdk::{Container, HeapSize, Retention};

/// A boxed callback with the values that it captured.
pub(crate) struct Tick {
    function: Box<dyn Fn(u64) -> u64>,
    bytes: usize,
}

impl Tick {
    /// Boxes a closure whose argument is the Unix time in milliseconds. `captured_bytes` is the
    /// heap memory that the captured values own. The caller measures it; the box hides it.
    pub(crate) fn new(function: impl Fn(u64) -> u64 + 'static, captured_bytes: usize) -> Self {
        let function = Box::new(function);
        let bytes = size_of_val(&*function) + captured_bytes;
        Self { function, bytes }
    }
}

impl HeapSize for Tick {
    fn heap_bytes(&self) -> usize {
        self.bytes
    }
}

/// All armed timers. With a constant interval, they are in the order in which they are due.
#[derive(Default)]
pub(crate) struct Timers {
    armed: VecDeque<Armed>,
    last_id: u64,
    owned_bytes: usize,
}

struct Armed {
    id: u64,
    due_unix_ms: u64,
    interval_ms: u64,
    tick: Tick,
}

impl Timers {
    /// Bytes of one timer in the list.
    pub(crate) const SLOT_BYTES: usize = size_of::<Armed>();

    /// Starts a timer. It runs until the returned guard is dropped.
    #[must_use = "dropping the guard cancels the timer"]
    pub(crate) fn every(&mut self, interval_ms: u64, now_unix_ms: u64, tick: Tick) -> Guard<'_> {
        self.last_id += 1;
        self.owned_bytes += tick.heap_bytes();
        self.armed.push_back(Armed {
            id: self.last_id,
            due_unix_ms: now_unix_ms.saturating_add(interval_ms),
            interval_ms,
            tick,
        });
        Guard {
            id: self.last_id,
            timers: self,
        }
    }

    /// Calls up to `max` callbacks that are due and arms them again. Returns the wrapping sum of
    /// their results.
    pub(crate) fn tick(&mut self, now_unix_ms: u64, max: usize) -> u64 {
        let mut sum: u64 = 0;
        for _ in 0..max {
            let due = |armed: &mut Armed| armed.due_unix_ms <= now_unix_ms;
            let Some(mut armed) = self.armed.pop_front_if(due) else {
                break;
            };
            sum = sum.wrapping_add((armed.tick.function)(now_unix_ms));
            armed.due_unix_ms = now_unix_ms.saturating_add(armed.interval_ms);
            self.armed.push_back(armed);
        }
        sum
    }

    /// Cancels up to `max` timers from the front of the list.
    pub(crate) fn cancel_oldest(&mut self, max: usize) {
        for _ in 0..max {
            let Some(armed) = self.armed.pop_front() else {
                break;
            };
            self.owned_bytes -= armed.tick.heap_bytes();
        }
        self.armed.shrink_sparse();
    }

    /// The number of timers, and the bytes that they and the list own.
    pub(crate) fn retained(&self) -> Retention {
        Retention::of(
            self.armed.len(),
            self.owned_bytes + self.armed.block_bytes(),
        )
    }
}

/// A guard. Dropping it cancels the timer.
pub(crate) struct Guard<'a> {
    timers: &'a mut Timers,
    id: u64,
}

impl Guard<'_> {
    /// Drops the guard without cancelling the timer. This is the leak: only the guard knows the id.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Searches from the end, because the timer of this request was started last.
        let index = self
            .timers
            .armed
            .iter()
            .rposition(|armed| armed.id == self.id);
        if let Some(armed) = index.and_then(|index| self.timers.armed.remove(index)) {
            self.timers.owned_bytes -= armed.tick.heap_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(result: u64) -> Tick {
        Tick::new(move |_| result, 0)
    }

    #[test]
    fn a_timer_ticks_at_intervals_until_it_is_cancelled() {
        let mut timers = Timers::default();
        timers.every(100, 0, tick(1)).forget();
        timers.every(100, 50, tick(10)).forget();
        drop(timers.every(100, 0, tick(100)));
        let sums: Vec<_> = [99, 100, 101, 150, 199, 200, 400]
            .map(|now| timers.tick(now, 10))
            .into();
        assert_eq!(sums, [0, 1, 0, 10, 0, 1, 11]);
        timers.cancel_oldest(10);
        assert_eq!(timers.tick(10_000, 10), 0);
        assert_eq!(timers.retained().objects, 0);
    }

    #[test]
    fn tick_calls_at_most_max_callbacks() {
        let mut timers = Timers::default();
        for _ in 0..10 {
            timers.every(100, 0, tick(1)).forget();
        }
        let sums: Vec<_> = (0..4).map(|_| timers.tick(100, 4)).collect();
        assert_eq!(sums, [4, 4, 2, 0]);
    }
}
