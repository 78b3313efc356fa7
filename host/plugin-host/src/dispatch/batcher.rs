//! The calls of many requests, plugin by plugin.
//!
//! A call takes some microseconds, and a third of that is spent on fetching the plugin's memory from the core that had
//! it for the call before, if that was another one. So a request does not call: it goes onto the lane of the thread that
//! it is on, and the first one there starts a task that lets the thread finish what else it has, and then makes the calls
//! of all that have come meanwhile, one plugin after the other. Where that brings hardly any together, requests make
//! their calls at once.

use std::future::poll_fn;
use std::hint;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use tokio_util::task::TaskTracker;

use crate::dispatch::fan_out::{Call, Round};
use crate::driver::handle::Plugin;

/// Where requests wait for their calls.
pub(crate) struct Lanes {
    lanes: Box<[Arc<Lane>]>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Lane {
    /// Where among the plugins it begins, as a share of them: two lanes are not to want the same plugin.
    begin: Share,
    waiting: Mutex<Waiting>,
}

/// The requests that are on a lane, and whether it is worth it to wait for more.
#[derive(Debug, Default)]
struct Waiting {
    rounds: Vec<Entered>,
    /// Times in a row that waiting was in vain.
    in_vain: u32,
    /// Requests that nobody is to wait for any more.
    at_once: u32,
}

/// A plugin that is busy is tried so often before its calls go on in a task of their own. Most are free again within that
/// time, which is some microseconds; being woken takes longer.
const SPINS: u32 = 64;

/// Requests whose calls are made before the thread may do something else again.
const MOST: usize = 64;

/// What a request has to do that has come onto a lane.
#[derive(Debug, PartialEq, Eq)]
enum Begin {
    /// Nothing: another one has.
    Begun,
    /// To begin.
    AtOnce,
    /// To begin when others have come.
    Soon,
}

/// Calls of fewer requests are not worth to be waited for: letting the thread go on may wake another one.
const WORTH: usize = 3;

/// So often in a row it may be in vain to wait before it is not tried for some time.
const TRIES: u32 = 8;

/// Requests before it is tried again.
const AT_ONCE: u32 = 1024;

/// A request on a lane. However it gets off, it does not wait for the lane any longer.
#[derive(Debug)]
struct Entered {
    round: Arc<Round>,
    plugins: Arc<[Arc<Plugin>]>,
}

/// `part` of `of`.
#[derive(Debug, Clone, Copy)]
struct Share {
    part: usize,
    of: usize,
}

/// What one plugin has to do for the requests of a lane.
struct Work {
    plugin: Arc<Plugin>,
    calls: Vec<Call>,
}

impl Lanes {
    /// A lane for each core.
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        let of = thread::available_parallelism().map_or(1, usize::from);
        let lane = |part| {
            Arc::new(Lane {
                begin: Share { part, of },
                waiting: Mutex::default(),
            })
        };
        Lanes {
            lanes: (0..of).map(lane).collect(),
            tasks,
        }
    }

    /// Makes the calls of these plugins for a request, or has them made soon. Waits for nothing: what is begun here is done, whatever
    /// becomes of the request.
    pub(crate) async fn enter(&self, round: Arc<Round>, plugins: Arc<[Arc<Plugin>]>) {
        let entered = Entered { round, plugins };
        let Some(lane) = self.lanes.get(thread_number() % self.lanes.len()) else {
            return;
        };
        let begin = lane.waiting().push(entered);
        match begin {
            Begin::Begun => {}
            Begin::AtOnce => {
                let entered = lane.waiting().take(false);
                lane.call(&entered, &self.tasks).await;
            }
            Begin::Soon => {
                let (lane, tasks) = (lane.clone(), self.tasks.clone());
                self.tasks.spawn(async move {
                    tokio::task::yield_now().await;
                    let entered = lane.waiting().take(true);
                    for (n, some) in entered.chunks(MOST).enumerate() {
                        if n > 0 {
                            tokio::task::yield_now().await;
                        }
                        lane.call(some, &tasks).await;
                    }
                });
            }
        }
    }
}

impl Lane {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the calls of these requests. Ready at once.
    async fn call(&self, entered: &[Entered], tasks: &TaskTracker) {
        let mut work = gather(entered);
        let begin = work.len() * self.begin.part / self.begin.of;
        work.rotate_left(begin);
        poll_fn(|context| {
            make_calls(mem::take(&mut work), tasks, context);
            Poll::Ready(())
        })
        .await;
        for one in entered {
            one.round.leave();
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.round.leave();
    }
}

impl Waiting {
    /// Adds a request, and says what it has to do.
    fn push(&mut self, entered: Entered) -> Begin {
        self.rounds.push(entered);
        if self.rounds.len() > 1 {
            Begin::Begun
        } else if self.at_once == 0 {
            Begin::Soon
        } else {
            self.at_once -= 1;
            Begin::AtOnce
        }
    }

    /// Those that are there, after it has been `waited` for them.
    fn take(&mut self, waited: bool) -> Vec<Entered> {
        if waited {
            let in_vain = self.rounds.len() < WORTH;
            self.in_vain = if in_vain { self.in_vain + 1 } else { 0 };
            if self.in_vain == TRIES {
                (self.in_vain, self.at_once) = (0, AT_ONCE);
            }
        }
        mem::take(&mut self.rounds)
    }
}

/// What each plugin has to do, in the order in which the first request asks for it.
fn gather(entered: &[Entered]) -> Vec<Work> {
    let mut work: Vec<Work> = Vec::new();
    for Entered { round, plugins } in entered {
        // Requests mostly ask for the same plugins in the same order.
        let mut expected = 0;
        for (plugin, call) in plugins.iter().zip(round.calls()) {
            let here = |work: &Work| Arc::ptr_eq(&work.plugin, plugin);
            let at = if work.get(expected).is_some_and(here) {
                Some(expected)
            } else {
                work.iter().position(here)
            };
            match at.and_then(|at| work.get_mut(at)) {
                Some(work) => work.calls.push(call),
                None => {
                    let mut calls = Vec::with_capacity(entered.len());
                    calls.push(call);
                    work.push(Work {
                        plugin: plugin.clone(),
                        calls,
                    });
                }
            }
            expected = at.unwrap_or(expected) + 1;
        }
    }
    work
}

/// Makes the calls, those of plugins that are free first. What has to wait goes on in a task of its own.
fn make_calls(work: Vec<Work>, tasks: &TaskTracker, context: &mut Context<'_>) {
    let mut go = |mut serving: Pin<Box<dyn Future<Output = ()> + Send>>| {
        if serving.as_mut().poll(context).is_pending() {
            tasks.spawn(serving);
        }
    };
    let mut busy = Vec::new();
    for work in work {
        match work.serve_now() {
            Ok(serving) => go(Box::pin(serving)),
            Err(work) => busy.push(work),
        }
    }
    for mut work in busy {
        // Somebody else has many calls to make, too, when there are many here.
        let mut spins = if work.calls.len() < WORTH { SPINS } else { 0 };
        loop {
            match work.serve_now() {
                Ok(serving) => break go(Box::pin(serving)),
                Err(same) if spins == 0 => {
                    if let Some(serving) = same.plugin.serve_in_turn(same.calls) {
                        go(Box::pin(serving));
                    }
                    break;
                }
                Err(same) => work = same,
            }
            spins -= 1;
            hint::spin_loop();
        }
    }
}

impl Work {
    /// Makes the calls, if the plugin is free.
    fn serve_now(self) -> Result<impl Future<Output = ()> + use<>, Self> {
        let Work { plugin, calls } = self;
        plugin
            .serve_now(calls)
            .map_err(|calls| Work { plugin, calls })
    }
}

/// A number for each thread that asks, from 0.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::request::{Head, Request};
    use telemetry::context::TraceContext;

    fn entered() -> Entered {
        let head = Head {
            id: "",
            time_unix_ms: 0,
            method: "GET",
            path: "/api/data",
            query: "",
            body_preview: "",
            status: 200,
            elapsed_us: 0,
            trace_id: "",
        };
        let request = Request::new(&head, std::iter::empty());
        let trace = TraceContext::unrecorded(None);
        Entered {
            round: Arc::new(Round::new(request, trace, 0)),
            plugins: Arc::default(),
        }
    }

    #[test]
    fn the_first_one_begins_and_takes_all_that_have_come() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.push(entered()), Begin::Soon);
        assert_eq!(waiting.push(entered()), Begin::Begun);
        assert_eq!(waiting.push(entered()), Begin::Begun);
        assert_eq!(waiting.take(true).len(), 3);
        assert_eq!(waiting.push(entered()), Begin::Soon);
    }

    #[test]
    fn nobody_waits_in_vain_for_long_and_it_is_tried_again() {
        let mut waiting = Waiting::default();
        let tries = |waiting: &mut Waiting| {
            for _ in 0..TRIES {
                assert_eq!(waiting.push(entered()), Begin::Soon);
                assert_eq!(waiting.take(true).len(), 1);
            }
        };
        tries(&mut waiting);
        for _ in 0..AT_ONCE {
            assert_eq!(waiting.push(entered()), Begin::AtOnce);
            assert_eq!(waiting.take(false).len(), 1);
        }
        tries(&mut waiting);
        assert_eq!(waiting.push(entered()), Begin::AtOnce);
    }

    #[test]
    fn it_goes_on_waiting_while_that_is_worth_it() {
        let mut waiting = Waiting::default();
        for turn in 0..3 * TRIES {
            assert_eq!(waiting.push(entered()), Begin::Soon);
            if turn % TRIES == 0 {
                for _ in 1..WORTH {
                    assert_eq!(waiting.push(entered()), Begin::Begun);
                }
            }
            waiting.take(true);
        }
    }
}
