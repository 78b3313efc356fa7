//! Timers as every runtime has them: a callback that is called at intervals until it is cancelled.

use std::collections::VecDeque;

use leak_plugin_sdk::{Container, HeapSize, Retention};

/// A callback on the heap with everything it captured.
pub(crate) struct Tick {
    function: Box<dyn Fn(u64) -> u64>,
    bytes: usize,
}

impl Tick {
    /// Boxes a closure that is called with the time, in milliseconds since 1970. `captured_bytes` is
    /// what the captured values own on the heap, which nobody sees behind the pointer.
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

/// All timers, in the order in which they are due as long as they have one interval.
#[derive(Default)]
pub(crate) struct Timers {
    armed: VecDeque<Armed>,
    last_number: u64,
    owned_bytes: usize,
}

struct Armed {
    number: u64,
    due_unix_ms: u64,
    interval_ms: u64,
    tick: Tick,
}

impl Timers {
    /// What the list takes up for each timer.
    pub(crate) const SLOT_BYTES: usize = size_of::<Armed>();

    /// Starts a timer, which runs until its guard is dropped.
    #[must_use = "dropping the guard cancels the timer"]
    pub(crate) fn every(&mut self, interval_ms: u64, now_unix_ms: u64, tick: Tick) -> Guard<'_> {
        self.last_number += 1;
        self.owned_bytes += tick.heap_bytes();
        self.armed.push_back(Armed {
            number: self.last_number,
            due_unix_ms: now_unix_ms.saturating_add(interval_ms),
            interval_ms,
            tick,
        });
        Guard {
            number: self.last_number,
            timers: self,
        }
    }

    /// Calls up to `most` timers that are due and arms them again. Answers what they said, added up.
    pub(crate) fn tick(&mut self, now_unix_ms: u64, most: usize) -> u64 {
        let mut said: u64 = 0;
        for _ in 0..most {
            let due = |armed: &mut Armed| armed.due_unix_ms <= now_unix_ms;
            let Some(mut armed) = self.armed.pop_front_if(due) else {
                break;
            };
            said = said.wrapping_add((armed.tick.function)(now_unix_ms));
            armed.due_unix_ms = now_unix_ms.saturating_add(armed.interval_ms);
            self.armed.push_back(armed);
        }
        said
    }

    /// Cancels up to `most` timers.
    pub(crate) fn cancel_oldest(&mut self, most: usize) {
        for _ in 0..most {
            let Some(armed) = self.armed.pop_front() else {
                break;
            };
            self.owned_bytes -= armed.tick.heap_bytes();
        }
        self.armed.shrink_sparse();
    }

    /// The timers and what they hold.
    pub(crate) fn retained(&self) -> Retention {
        Retention::of(
            self.armed.len(),
            self.owned_bytes + self.armed.block_bytes(),
        )
    }
}

/// Keeps a timer running for as long as it lives.
pub(crate) struct Guard<'a> {
    timers: &'a mut Timers,
    number: u64,
}

impl Guard<'_> {
    /// Leaves the timer running for good. Nobody can cancel it any more.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // From the end: a timer of this request is the one that was started last.
        let place = self
            .timers
            .armed
            .iter()
            .rposition(|armed| armed.number == self.number);
        if let Some(armed) = place.and_then(|place| self.timers.armed.remove(place)) {
            self.timers.owned_bytes -= armed.tick.heap_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(answer: u64) -> Tick {
        Tick::new(move |_| answer, 0)
    }

    #[test]
    fn a_timer_ticks_at_intervals_until_it_is_cancelled() {
        let mut timers = Timers::default();
        timers.every(100, 0, tick(1)).forget();
        timers.every(100, 50, tick(10)).forget();
        drop(timers.every(100, 0, tick(100)));
        let said: Vec<_> = [99, 100, 101, 150, 199, 200, 400]
            .map(|now| timers.tick(now, 10))
            .into();
        assert_eq!(said, [0, 1, 0, 10, 0, 1, 11]);
        timers.cancel_oldest(10);
        assert_eq!(timers.tick(10_000, 10), 0);
        assert_eq!(timers.retained().objects, 0);
    }

    #[test]
    fn not_more_than_so_many_tick_at_a_time() {
        let mut timers = Timers::default();
        for _ in 0..10 {
            timers.every(100, 0, tick(1)).forget();
        }
        let said: Vec<_> = (0..4).map(|_| timers.tick(100, 4)).collect();
        assert_eq!(said, [4, 4, 2, 0]);
    }
}
