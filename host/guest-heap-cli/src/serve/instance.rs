//! One instance and its event loop.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval};
use wasmtime::component::Accessor;
use wasmtime::{AsContext, AsContextMut, Store};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{Prepared, Proxy};

use crate::engine::engine_error;
use crate::guest::{TICK, start_error, store};
use crate::heap::RawHeap;
use crate::host_state::HostState;
use crate::serve::job::{Job, Source};
use crate::serve::retention::{Measurement, MemorySize};
use crate::serve::server::Server;
use crate::serve::tally::Ended;
use crate::serve::watch::{Running, Watch};

/// Time for which requests in progress go on when the server stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Time between two heaps of an idle guest that are kept, in case that it is busy when it is asked.
const IDLE_HEAP_INTERVAL: Duration = Duration::from_millis(250);

/// Bytes of a KiB.
const KIB: u64 = 1024;

/// An instance that is ready for requests.
pub(super) struct Instance {
    store: Store<HostState>,
    proxy: Proxy,
}

/// What the event loop of an instance works with.
struct EventLoop<'a> {
    server: &'a Server,
    proxy: &'a Proxy,
    watch: &'a Watch,
}

impl Instance {
    /// Instantiates the component.
    ///
    /// # Errors
    /// When it traps at its start, or a folder cannot be opened.
    pub(super) async fn start(server: &Arc<Server>) -> anyhow::Result<Self> {
        let max_memory = server.arguments.max_memory.unwrap_or(u64::MAX);
        let (store, proxy) = Self::instantiate(server, max_memory).await?;
        let Err(error) = proxy else {
            return Ok(Self {
                proxy: proxy.map_err(engine_error)?,
                store,
            });
        };
        if store.data().memory.denied().is_some()
            && let (unlimited, Ok(_)) = Self::instantiate(server, u64::MAX).await?
        {
            let needed = unlimited.data().memory.used().div_ceil(KIB);
            anyhow::bail!(
                "the component needs more memory than --max-memory to start: it starts with \
                 --max-memory {}KiB",
                needed
            );
        }
        Err(start_error(error, &server.loaded))
    }

    /// Instantiates the component with a limit of memory, in bytes.
    async fn instantiate(
        server: &Arc<Server>,
        max_memory: u64,
    ) -> anyhow::Result<(Store<HostState>, wasmtime::Result<Proxy>)> {
        let asked = server.clone();
        let mut store = store(
            &server.engine,
            server.new_state(max_memory)?,
            move |context| {
                if !asked.instance_per_request {
                    let requests = asked.tally.requests();
                    asked.heap_requests.answer(context, requests, false);
                }
            },
        );
        let proxy = server.service.instantiate_async(&mut store);
        let proxy = tokio::time::timeout(server.timeout, proxy).await;
        let proxy = proxy.map_err(|_elapsed| {
            anyhow::anyhow!("the component has not started within --timeout")
        })?;
        Ok((store, proxy))
    }

    /// Handles requests until the instance ends. Its store is kept, so its heap can be read.
    pub(super) async fn run(&mut self, server: &Server, source: &mut Source<'_>) -> Ended {
        let capacity = match source {
            Source::Queue(_) => server.concurrency,
            Source::One(_) => 1,
        };
        let watch = Watch::new(server.timeout, capacity);
        let event_loop = EventLoop {
            server,
            proxy: &self.proxy,
            watch: &watch,
        };
        let mut done = pin!(
            self.store
                .run_concurrent(async |accessor| { event_loop.run(accessor, source).await })
        );
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = server.stop.subscribe();
        let mut drained_at = None;
        loop {
            tokio::select! {
                done = &mut done => return match done.flatten() {
                    Ok(()) => Ended::AsPlanned,
                    Err(error) => Ended::Trapped(engine_error(error)),
                },
                _ = clock.tick() => {
                    if let Some(why) = watch.overdue() {
                        return Ended::TimedOut(why);
                    }
                    if drained_at.is_some_and(|at| Instant::now() >= at) {
                        return Ended::WhileBusy;
                    }
                }
                // The sender is in the server, so it does not end.
                _ = stop.wait_for(|stop| *stop), if drained_at.is_none() => {
                    drained_at = Some(Instant::now() + DRAIN);
                }
            }
        }
    }

    pub(super) fn heap(&self) -> RawHeap {
        RawHeap::read(&self.store)
    }

    /// The bytes that the last denied growth of memory wanted.
    pub(super) fn denied(&self) -> Option<u64> {
        self.store.data().memory.denied()
    }
}

impl EventLoop<'_> {
    async fn run(
        &self,
        accessor: &Accessor<HostState>,
        source: &mut Source<'_>,
    ) -> wasmtime::Result<()> {
        let (server, watch) = (self.server, self.watch);
        let mut measurement = Measurement::new(memory_size(accessor));
        let mut running = FuturesUnordered::new();
        let mut is_idle = true;
        let mut has_ended = false;
        let mut begun: u64 = 0;
        let mut kept_idle = Instant::now();
        // Whether the last checkpoint is that of a busy guest.
        let mut needs_idle = false;
        // An instance for one request has nothing to compare with.
        let mut next_checkpoint = if server.instance_per_request {
            u64::MAX / 2
        } else {
            1
        };
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = server.stop.subscribe();
        loop {
            if has_ended && running.is_empty() && is_idle {
                return Ok(());
            }
            tokio::select! {
                // What has ended comes first, so that the guest is seen idle between two requests.
                biased;
                Some((request, name)) = running.next(), if !running.is_empty() => {
                    watch.end(request);
                    let requests = server.tally.count(&name);
                    // A busy guest may never be idle.
                    if requests >= 2 * next_checkpoint {
                        next_checkpoint = self.checkpoint(accessor, false);
                        needs_idle = true;
                    }
                }
                () = no_tasks(accessor), if running.is_empty() && !is_idle => {
                    is_idle = true;
                    watch.is_idle();
                    let size = memory_size(accessor);
                    if let Some((name, before)) = measurement.idle(size) {
                        server.tally.measure(&name, before, size);
                    }
                    if needs_idle || server.tally.requests() >= next_checkpoint {
                        next_checkpoint = self.checkpoint(accessor, true);
                        needs_idle = false;
                        kept_idle = Instant::now();
                    } else if kept_idle.elapsed() >= IDLE_HEAP_INTERVAL
                        && !server.instance_per_request
                    {
                        server.tally.keep_idle(read_heap(accessor));
                        kept_idle = Instant::now();
                    }
                    self.answer(accessor, true);
                }
                () = server.heap_requests.opened() => self.answer(accessor, is_idle),
                _ = clock.tick(), if !is_idle => {
                    watch.runs();
                    self.answer(accessor, false);
                }
                _ = stop.wait_for(|stop| *stop), if !has_ended => has_ended = true,
                job = source.next(), if !has_ended && running.len() < server.concurrency => {
                    let Some(job) = job else {
                        has_ended = true;
                        continue;
                    };
                    if !job.start(begun == 0) {
                        continue;
                    }
                    begun += 1;
                    is_idle = false;
                    measurement.begin_request(&job.name);
                    running.push(self.handle(accessor, job));
                }
            }
        }
    }

    /// Calls the guest. The answer goes to the client as soon as the guest gives it.
    fn handle<'a>(
        &'a self,
        accessor: &'a Accessor<HostState>,
        job: Job,
    ) -> impl Future<Output = (Running, Arc<str>)> + 'a {
        let request = self.watch.begin();
        let Job { name, .. } = &job;
        let name = name.clone();
        let prepared = accessor.with(|mut store| {
            let store = store.as_context_mut();
            Prepared::new(store, self.proxy, job.request, HostState::http, job.answer)
        });
        async move {
            // An error has gone to the client. If the guest trapped, the event loop ends as well.
            if let Ok(prepared) = prepared {
                prepared.run(accessor, pending()).await.ok();
            }
            (request, name)
        }
    }

    /// Keeps a heap to compare later ones with. Returns the number of requests at which the next
    /// one is due.
    fn checkpoint(&self, accessor: &Accessor<HostState>, is_idle: bool) -> u64 {
        let tally = &self.server.tally;
        tally.keep_checkpoint(read_heap(accessor), is_idle);
        tally.requests().saturating_mul(2)
    }

    /// Answers those who ask for the heap.
    fn answer(&self, accessor: &Accessor<HostState>, is_idle: bool) {
        let server = self.server;
        if server.instance_per_request {
            return;
        }
        let requests = server.tally.requests();
        accessor.with(|mut store| {
            let store = store.as_context_mut();
            server.heap_requests.answer(&store, requests, is_idle);
        });
    }
}

/// Waits until the guest has nothing to do.
async fn no_tasks(accessor: &Accessor<HostState>) {
    poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
}

fn read_heap(accessor: &Accessor<HostState>) -> RawHeap {
    accessor.with(|mut store| RawHeap::read(&store.as_context_mut()))
}

fn memory_size(accessor: &Accessor<HostState>) -> MemorySize {
    accessor.with(|mut store| {
        let store = store.as_context_mut();
        let store = store.as_context();
        MemorySize {
            live_bytes: store.data().recorder.live_summary(&store).live_bytes,
            linear_bytes: store.data().memory.used(),
        }
    })
}
