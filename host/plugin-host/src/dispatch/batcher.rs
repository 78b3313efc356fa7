//! Groups the calls of many requests by plugin.
//!
//! A call takes some microseconds. A third of that is the transfer of the plugin's memory from the
//! core that made the previous call, if that was another core. So a request does not call at once.
//! It joins the queue of its worker thread. The first request in a queue starts a task that yields
//! once, so that the thread handles its other requests, and then makes the calls of all queued
//! requests, one plugin after the other. While a yield gathers hardly any requests, requests make
//! their calls at once.

use std::future::poll_fn;
use std::hint;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use tokio_util::task::TaskTracker;

use crate::dispatch::fan_out::{Call, FanOut};
use crate::dispatch::invoke::{Serving, serve_queued, try_serve};
use crate::dispatch::own_thread::serve_on_own_thread;
use crate::driver::handle::Plugin;

/// Smaller batches are not worth a yield: the yield may wake another thread.
const MIN_BATCH: usize = 3;

/// The most requests whose calls run before the thread yields again.
const MAX_BATCH: usize = 64;

/// Consecutive yields that gather less than [`MIN_BATCH`] before the queue stops yielding.
const MAX_EMPTY_WAITS: u32 = 8;

/// Requests without a yield before the queue tries to yield again.
const UNBATCHED_REQUESTS: u32 = 1024;

/// Looks at a busy plugin before its calls go on in a task. Most plugins are free again within this
/// time, some microseconds; a wake-up takes longer.
const MAX_SPINS: u32 = 256;

/// The queues of all worker threads.
pub(crate) struct Batcher {
    queues: Box<[Arc<Queue>]>,
    tasks: TaskTracker,
}

/// The requests of one worker thread.
#[derive(Debug)]
struct Queue {
    /// The plugin that a batch starts with, as a share of its plugins: two threads should not need
    /// the same plugin at the same time.
    first_plugin: Share,
    state: Mutex<QueueState>,
}

/// `part` of `of`.
#[derive(Debug, Clone, Copy)]
struct Share {
    part: usize,
    of: usize,
}

#[derive(Debug, Default)]
struct QueueState {
    requests: Vec<Queued>,
    /// Consecutive yields that gathered too few requests.
    empty_waits: u32,
    /// Requests that go on without a yield.
    unbatched_left: u32,
}

/// A request in a queue. Dropping it ends the request's wait for the batcher.
#[derive(Debug)]
struct Queued {
    fan_out: Arc<FanOut>,
    plugins: Arc<[Arc<Plugin>]>,
}

/// What a request does after it has joined a queue.
#[derive(Debug, PartialEq, Eq)]
enum Schedule {
    /// Nothing: an earlier request makes the calls.
    AlreadyScheduled,
    /// It makes the calls at once.
    Now,
    /// It starts a task that yields and then makes the calls.
    AfterYield,
}

/// The calls of one plugin for the requests of a batch.
struct PluginBatch {
    plugin: Arc<Plugin>,
    calls: Vec<Call>,
}

impl Batcher {
    /// One queue for each core.
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        let of = thread::available_parallelism().map_or(1, usize::from);
        let queue = |part| {
            Arc::new(Queue {
                first_plugin: Share { part, of },
                state: Mutex::default(),
            })
        };
        Batcher {
            queues: (0..of).map(queue).collect(),
            tasks,
        }
    }

    /// Makes the calls of a request, or schedules them. Does not wait for their answers. Calls that
    /// were started run to their end, even if the request is dropped.
    pub(crate) async fn submit(&self, fan_out: Arc<FanOut>, plugins: Arc<[Arc<Plugin>]>) {
        let queued = Queued { fan_out, plugins };
        let Some(queue) = self.queues.get(thread_number() % self.queues.len()) else {
            return;
        };
        let schedule = queue.state().push(queued);
        match schedule {
            Schedule::AlreadyScheduled => {}
            Schedule::Now => {
                let batch = queue.state().take(false);
                queue.run(&batch, &self.tasks).await;
            }
            Schedule::AfterYield => {
                let (queue, tasks) = (queue.clone(), self.tasks.clone());
                self.tasks.spawn(async move {
                    tokio::task::yield_now().await;
                    let requests = queue.state().take(true);
                    for (n, batch) in requests.chunks(MAX_BATCH).enumerate() {
                        if n > 0 {
                            tokio::task::yield_now().await;
                        }
                        queue.run(batch, &tasks).await;
                    }
                });
            }
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the calls of these requests. It is ready after one poll: calls that must wait go on in
    /// tasks of their own.
    async fn run(&self, batch: &[Queued], tasks: &TaskTracker) {
        let mut batches = group_by_plugin(batch);
        let first = batches.len() * self.first_plugin.part / self.first_plugin.of;
        batches.rotate_left(first);
        poll_fn(|context| {
            run_batches(mem::take(&mut batches), tasks, context);
            Poll::Ready(())
        })
        .await;
        for queued in batch {
            queued.fan_out.hand_off();
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.fan_out.hand_off();
    }
}

impl QueueState {
    /// Adds a request and decides what it does next.
    fn push(&mut self, queued: Queued) -> Schedule {
        self.requests.push(queued);
        if self.requests.len() > 1 {
            Schedule::AlreadyScheduled
        } else if self.unbatched_left == 0 {
            Schedule::AfterYield
        } else {
            self.unbatched_left -= 1;
            Schedule::Now
        }
    }

    /// Takes all requests. `yielded` says whether there was a yield to gather them.
    fn take(&mut self, yielded: bool) -> Vec<Queued> {
        if yielded {
            let empty = self.requests.len() < MIN_BATCH;
            self.empty_waits = if empty { self.empty_waits + 1 } else { 0 };
            if self.empty_waits == MAX_EMPTY_WAITS {
                // The next trial is one yield: it delays one request of a thousand, not eight.
                self.empty_waits = MAX_EMPTY_WAITS - 1;
                self.unbatched_left = UNBATCHED_REQUESTS;
            }
        }
        mem::take(&mut self.requests)
    }
}

/// The calls of each plugin, in the order in which the first request names the plugins.
fn group_by_plugin(requests: &[Queued]) -> Vec<PluginBatch> {
    let mut batches: Vec<PluginBatch> = Vec::new();
    for Queued { fan_out, plugins } in requests {
        // Most requests name the same plugins in the same order.
        let mut expected = 0;
        for (plugin, call) in plugins.iter().zip(fan_out.calls()) {
            let is_same = |batch: &PluginBatch| Arc::ptr_eq(&batch.plugin, plugin);
            let index = if batches.get(expected).is_some_and(is_same) {
                Some(expected)
            } else {
                batches.iter().position(is_same)
            };
            match index.and_then(|index| batches.get_mut(index)) {
                Some(batch) => batch.calls.push(call),
                None => {
                    let mut calls = Vec::with_capacity(requests.len());
                    calls.push(call);
                    batches.push(PluginBatch {
                        plugin: plugin.clone(),
                        calls,
                    });
                }
            }
            expected = index.unwrap_or(expected) + 1;
        }
    }
    batches
}

/// Makes the calls of free plugins first. Calls that must wait go on in tasks of their own.
fn run_batches(batches: Vec<PluginBatch>, tasks: &TaskTracker, context: &mut Context<'_>) {
    let start = |mut serving: Serving, context: &mut Context<'_>| {
        if serving.needs_own_thread || serving.calls.as_mut().poll(context).is_pending() {
            tasks.spawn(serve_on_own_thread(serving.published, serving.calls));
        }
    };
    let mut busy = Vec::new();
    for PluginBatch { plugin, calls } in batches {
        match try_serve(&plugin, calls) {
            Ok(serving) => start(serving, context),
            Err(calls) => busy.push(PluginBatch { plugin, calls }),
        }
    }
    for PluginBatch { plugin, calls } in busy {
        // Under a load that makes many calls here, the other thread has many calls to make too, and
        // holds the plugin for long.
        if calls.len() < MIN_BATCH {
            spin_until_free(&plugin);
        }
        match try_serve(&plugin, calls) {
            Ok(serving) => start(serving, context),
            Err(calls) => {
                if let Some(serving) = serve_queued(&plugin, calls) {
                    let mut serving = Box::pin(serving);
                    // Polled here, so that it waits for the driver from now on.
                    if serving.as_mut().poll(context).is_pending() {
                        tasks.spawn(serving);
                    }
                }
            }
        }
    }
}

/// Waits until the plugin is free, for at most [`MAX_SPINS`]. It only reads, so that the cache
/// lines of the plugin stay with the core that has it.
fn spin_until_free(plugin: &Plugin) {
    for _ in 0..MAX_SPINS {
        if plugin.is_free() {
            return;
        }
        hint::spin_loop();
    }
}

/// A number for each calling thread, from 0.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use telemetry::context::TraceContext;

    use super::*;
    use crate::instance::request::{GuestRequest, RequestHead};

    fn queued() -> Queued {
        let head = RequestHead {
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
        let request = GuestRequest::new(&head, std::iter::empty());
        let trace = TraceContext::unrecorded(None);
        Queued {
            fan_out: Arc::new(FanOut::new(request, trace, 0, Duration::ZERO)),
            plugins: Arc::default(),
        }
    }

    #[test]
    fn the_first_request_takes_all_that_join_it() {
        let mut state = QueueState::default();
        assert_eq!(state.push(queued()), Schedule::AfterYield);
        assert_eq!(state.push(queued()), Schedule::AlreadyScheduled);
        assert_eq!(state.push(queued()), Schedule::AlreadyScheduled);
        assert_eq!(state.take(true).len(), 3);
        assert_eq!(state.push(queued()), Schedule::AfterYield);
    }

    #[test]
    fn after_empty_waits_requests_go_on_at_once_until_the_next_trial() {
        let mut state = QueueState::default();
        let empty_wait = |state: &mut QueueState| {
            assert_eq!(state.push(queued()), Schedule::AfterYield);
            assert_eq!(state.take(true).len(), 1);
        };
        for _ in 0..MAX_EMPTY_WAITS {
            empty_wait(&mut state);
        }
        for _ in 0..UNBATCHED_REQUESTS {
            assert_eq!(state.push(queued()), Schedule::Now);
            assert_eq!(state.take(false).len(), 1);
        }
        empty_wait(&mut state);
        assert_eq!(state.push(queued()), Schedule::Now);
    }

    #[test]
    fn a_queue_goes_on_yielding_while_batches_form() {
        let mut state = QueueState::default();
        for turn in 0..3 * MAX_EMPTY_WAITS {
            assert_eq!(state.push(queued()), Schedule::AfterYield);
            if turn % MAX_EMPTY_WAITS == 0 {
                for _ in 1..MIN_BATCH {
                    assert_eq!(state.push(queued()), Schedule::AlreadyScheduled);
                }
            }
            state.take(true);
        }
    }
}
