//! Notices a guest that does not come back: it computes for too long, or it waits for too long and
//! nothing else can run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What an instance works on, seen from outside of its event loop.
pub(super) struct Watch {
    timeout: Duration,
    /// Requests that the instance handles at a time.
    capacity: usize,
    state: Mutex<State>,
}

struct State {
    /// When the event loop ran last.
    ran: Instant,
    /// Whether the guest has work, also after its answers.
    has_work: bool,
    running: BTreeMap<u64, Instant>,
    next: u64,
}

/// A request that an instance works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running(u64);

impl Watch {
    pub(super) fn new(timeout: Duration, capacity: usize) -> Self {
        Self {
            timeout,
            capacity,
            state: Mutex::new(State {
                ran: Instant::now(),
                has_work: false,
                running: BTreeMap::new(),
                next: 0,
            }),
        }
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Running {
        self.change(|state| {
            state.next += 1;
            state.has_work = true;
            state.running.insert(state.next, state.ran);
            Running(state.next)
        })
    }

    /// The guest has handled a request.
    pub(super) fn end(&self, request: Running) {
        self.change(|state| state.running.remove(&request.0));
    }

    /// The event loop runs.
    pub(super) fn runs(&self) {
        self.change(|_| ());
    }

    /// The guest has nothing more to do.
    pub(super) fn is_idle(&self) {
        self.change(|state| state.has_work = false);
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        state.ran = Instant::now();
        change(&mut state)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Why the instance has to end, if so.
    pub(super) fn overdue(&self) -> Option<&'static str> {
        let state = self.lock();
        if state.has_work && state.ran.elapsed() > self.timeout {
            return Some("the guest was busy for longer than --timeout");
        }
        let mut overdue = state.running.values();
        (state.running.len() >= self.capacity
            && overdue.all(|started| started.elapsed() > self.timeout))
        .then_some("no request has ended within --timeout")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch whose times are all over as soon as it is asked.
    fn impatient(capacity: usize) -> Watch {
        Watch::new(Duration::ZERO, capacity)
    }

    #[test]
    fn an_idle_guest_is_never_overdue() {
        let watch = impatient(1);
        assert_eq!(watch.overdue(), None);
        let request = watch.begin();
        watch.end(request);
        watch.is_idle();
        assert_eq!(watch.overdue(), None);
    }

    #[test]
    fn a_guest_that_does_not_return_to_the_loop_is_overdue() {
        let watch = impatient(2);
        let request = watch.begin();
        assert!(watch.overdue().is_some_and(|why| why.contains("busy")));
        // The answer is there, but a task that the guest has spawned loops.
        watch.end(request);
        assert!(watch.overdue().is_some());
    }

    #[test]
    fn slow_requests_are_overdue_when_nothing_else_can_run() {
        let watch = Watch::new(Duration::from_secs(3600), 2);
        watch.begin();
        let old = Instant::now().checked_sub(Duration::from_secs(7200));
        watch.lock().running.insert(1, old.unwrap());
        assert_eq!(watch.overdue(), None, "there is room for another request");
        watch.begin();
        assert_eq!(watch.overdue(), None, "the second one is young");
        watch.lock().running.insert(2, old.unwrap());
        assert!(watch.overdue().is_some());
    }
}
