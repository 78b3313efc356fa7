//! The calls of one plugin: lock the driver, decide which requests reach the guest, call it,
//! publish and answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::dispatch::fan_out::Call;
use crate::dispatch::invocation_span::{InvocationEnd, InvocationSpan};
use crate::dispatch::own_thread::serve_on_own_thread;
use crate::driver::catch_panic::catch_panic;
use crate::driver::handle::{DriverGuard, Plugin};
use crate::driver::published_state::{PluginReading, PublishedState};
use crate::driver::target::TargetStep;
use crate::driver::{Driver, InvocationResult};
use crate::error::{Fault, PluginError};
use crate::instance::request::GuestRequest;
use crate::instance::timed_out;
use crate::metrics::{InvocationOutcome, PluginSeries};
use crate::settings::names;

/// The calls of a plugin whose driver is locked. Nothing happens before the first poll.
pub(super) struct Serving {
    /// Makes the calls and frees the driver.
    pub(super) calls: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether the calls may keep their thread for long. See `dispatch::own_thread`.
    pub(super) needs_own_thread: bool,
    pub(super) published: Arc<PublishedState>,
}

impl Serving {
    fn new(driver: DriverGuard, calls: Vec<Call>) -> Self {
        Serving {
            needs_own_thread: driver.pace.needs_own_thread(driver.instance.size()),
            published: driver.published.clone(),
            calls: Box::pin(serve(driver, calls)),
        }
    }

    /// Makes the calls here if that is quick, else on a thread of their own.
    pub(super) async fn finish(mut self) {
        if self.needs_own_thread || poll_once(self.calls.as_mut()).await.is_pending() {
            serve_on_own_thread(self.published, self.calls).await;
        }
    }
}

async fn poll_once(mut work: Pin<&mut (dyn Future<Output = ()> + Send)>) -> Poll<()> {
    poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await
}

/// Prepares the calls if the plugin's driver is free.
///
/// # Errors
///
/// The calls, when another task has the driver.
pub(super) fn try_serve(plugin: &Plugin, calls: Vec<Call>) -> Result<Serving, Vec<Call>> {
    match plugin.try_lock() {
        Some(driver) => Ok(Serving::new(driver, calls)),
        None => Err(calls),
    }
}

/// Makes the calls after everything that already waits for the plugin's driver. Calls beyond the
/// queue's limit are answered at once, and so are all of them if the plugin does not run. Returns
/// `None` if no call is left.
pub(super) fn serve_queued(
    plugin: &Plugin,
    mut calls: Vec<Call>,
) -> Option<impl Future<Output = ()> + use<>> {
    if let Err(error) = plugin.details().state.ensure_running(plugin.id()) {
        refuse(
            &plugin.metrics,
            calls,
            InvocationOutcome::Unavailable,
            &error,
        );
        return None;
    }
    let permits = plugin.call_limit.take(calls.len());
    let refused = calls.split_off(permits.count());
    let overloaded = PluginError::Overloaded(plugin.id().to_owned());
    refuse(
        &plugin.metrics,
        refused,
        InvocationOutcome::Busy,
        &overloaded,
    );
    if calls.is_empty() {
        return None;
    }
    let lock = plugin.lock();
    Some(async move {
        let driver = lock.await;
        drop(permits);
        Serving::new(driver, calls).finish().await;
    })
}

/// Counts and answers calls that never reach the guest.
fn refuse(
    metrics: &PluginSeries,
    calls: Vec<Call>,
    outcome: InvocationOutcome,
    error: &PluginError,
) {
    for call in calls {
        metrics.invoked(outcome, Duration::ZERO, None);
        call.answer(InvocationResult::Failed(error.to_string()));
    }
}

/// Makes calls, one after the other, and frees the driver.
async fn serve(mut driver: DriverGuard, calls: Vec<Call>) {
    for call in calls {
        let result = {
            // Pinned where it is created: it is large.
            let invocation = pin!(catch_panic(driver.invoke(&call)));
            call.trace().with_trace_id(invocation).await
        };
        call.answer(result.unwrap_or_else(|fault| {
            let outcome = fault.kind.outcome();
            driver.metrics.invoked(outcome, Duration::ZERO, None);
            driver.retire_for_call(fault)
        }));
    }
}

/// How the guest gets a request.
struct Admission {
    deadline: Duration,
    /// Bytes that the guest retains for this request, if it must be configured first.
    payload: Option<u64>,
}

/// A call that is over.
struct Invocation {
    outcome: InvocationOutcome,
    took: Duration,
    result: InvocationResult,
}

impl Driver {
    /// Makes one call, unless the guest must not get it, and records its effects.
    async fn invoke(&mut self, call: &Call) -> InvocationResult {
        let before = self.reading;
        let started = Instant::now();
        let admission = match self.admit(started, call) {
            Ok(admission) => admission,
            Err(result) => return result,
        };
        let mut span = InvocationSpan::start(call.trace(), &self.name);
        self.published.begin_call();
        let ended = self.call_guest(call.request(), &admission, started).await;
        let ended = self.retire_if_given_up(ended, admission.deadline);
        self.read_memory();
        let after = self.reading;
        let live_bytes_delta = live_bytes_delta(&before, &after);
        self.metrics
            .invoked(ended.outcome, ended.took, live_bytes_delta);
        if after.linear.bytes > before.linear.bytes {
            span.memory_grew(before.linear.bytes, after.linear.bytes);
        }
        span.end(&InvocationEnd {
            outcome: ended.outcome,
            generation: before.generation,
            retained_before: before.retained,
            retained_after: after.retained,
            live_bytes_delta,
            waited: started - call.since(),
        });
        self.published.set_reading(&self.reading);
        ended.result
    }

    /// Decides whether the guest gets a request: it must run and be active, the request must not
    /// have timed out, and cap, probability and target must allow it.
    fn admit(&mut self, now: Instant, call: &Call) -> Result<Admission, InvocationResult> {
        if let Err(error) = self.details.state.ensure_running(self.id()) {
            self.metrics
                .invoked(InvocationOutcome::Unavailable, Duration::ZERO, None);
            return Err(InvocationResult::Failed(error.to_string()));
        }
        if !self.published.active() {
            return Err(InvocationResult::Skipped);
        }
        let policy = self.details.settings.policy();
        let is_slow = || self.pace.is_slow(policy.deadline);
        if call.has_timed_out(policy.answer_timeout(), is_slow, now) {
            // Its request was already answered without it. The calls behind it do not wait for it.
            self.metrics
                .invoked(InvocationOutcome::Busy, Duration::ZERO, None);
            let overloaded = PluginError::Overloaded(self.id().to_owned());
            return Err(InvocationResult::Failed(overloaded.to_string()));
        }
        self.reading.requests += 1;
        self.reading.requests_since_clear += 1;
        let settings = &self.details.settings;
        let payload = settings.payload().map_or(0, |(_, bytes)| bytes);
        let retained = self.reading.retained.bytes;
        // An object takes more than its payload: how much shows in those that are retained.
        let mean = retained.checked_div(self.reading.retained.objects);
        let next = payload
            .max(mean.unwrap_or(0))
            .max(self.retention_pace.next(retained));
        let room = policy
            .retained_max
            .map_or(u64::MAX, |max| max.saturating_sub(retained));
        let full = policy.retained_max.is_some() && room < next.max(1);
        if full || (policy.probability < 1.0 && rand::random::<f64>() >= policy.probability) {
            self.published.set_reading(&self.reading);
            return Err(InvocationResult::Skipped);
        }
        // The fixed variant has no target: it shows a flat line.
        let target = policy.target.filter(|_| settings.variant() == names::LEAKY);
        let deadline = policy.deadline;
        match self.target.step(target, payload, retained, now) {
            TargetStep::AsConfigured => Ok(Admission {
                deadline,
                payload: None,
            }),
            TargetStep::Retain(bytes) => Ok(Admission {
                deadline,
                payload: Some(bytes.min(room)),
            }),
            TargetStep::Skip => {
                self.published.set_reading(&self.reading);
                Err(InvocationResult::Skipped)
            }
        }
    }

    /// Calls the guest, after it was configured with another payload if the admission says so. The
    /// duration does not include the configuration.
    async fn call_guest(
        &mut self,
        request: &GuestRequest,
        admission: &Admission,
        mut started: Instant,
    ) -> Invocation {
        let deadline = admission.deadline;
        if let Some(bytes) = admission.payload {
            if let Err(failed) = self.configure_payload(bytes, deadline).await {
                return failed;
            }
            started = Instant::now();
        }
        let bytes_before = self.instance.total_bytes();
        let (answer, paused) = {
            // Pinned where it is created: it is large.
            let mut guest_call = pin!(self.instance.on_request(request, deadline));
            let mut paused = false;
            let answer = poll_fn(|context| {
                let poll = guest_call.as_mut().poll(context);
                paused |= poll.is_pending();
                poll
            })
            .await;
            (answer, paused)
        };
        let took = started.elapsed();
        self.pace.record(took, paused, deadline);
        let grown = self.instance.total_bytes().saturating_sub(bytes_before);
        self.pace.record_long(took, bytes_before, grown);
        self.published.set_slow(self.pace.is_slow(deadline));
        let (outcome, result) = match answer {
            Ok(Ok(outcome)) => {
                let before = self.reading.retained.bytes;
                self.retention_pace.record(before, outcome.retained.bytes);
                self.reading.retained = outcome.retained;
                let result = if outcome.triggered {
                    InvocationResult::Triggered
                } else {
                    InvocationResult::Skipped
                };
                (InvocationOutcome::Ok, result)
            }
            Ok(Err(message)) => {
                let message = format!("the plugin answered: {message}");
                (InvocationOutcome::Error, InvocationResult::Failed(message))
            }
            Err(fault) => (fault.kind.outcome(), self.retire_for_call(fault)),
        };
        Invocation {
            outcome,
            took,
            result,
        }
    }

    /// Retires an instance whose call came back after it was given up. Everyone has seen it as
    /// faulted.
    fn retire_if_given_up(&mut self, ended: Invocation, deadline: Duration) -> Invocation {
        if !self.published.take_given_up() || self.details.state.fault().is_some() {
            return ended;
        }
        let fault = timed_out(deadline);
        Invocation {
            outcome: fault.kind.outcome(),
            result: self.retire_for_call(fault),
            ..ended
        }
    }

    /// Configures the guest with the accepted payload that is nearest to `bytes`.
    async fn configure_payload(
        &mut self,
        bytes: u64,
        deadline: Duration,
    ) -> Result<(), Invocation> {
        let settings = self.details.settings.clone();
        let Some((spec, _)) = settings.payload() else {
            return Ok(());
        };
        let value = spec.nearest(bytes);
        let configured = self
            .instance
            .configure(std::iter::once((spec, &value)), deadline)
            .await;
        let (outcome, result) = match configured {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(refusal)) => (
                InvocationOutcome::Error,
                InvocationResult::Failed(refusal.to_string()),
            ),
            Err(fault) => (fault.kind.outcome(), self.retire_for_call(fault)),
        };
        Err(Invocation {
            outcome,
            took: Duration::ZERO,
            result,
        })
    }

    fn retire_for_call(&mut self, fault: Fault) -> InvocationResult {
        InvocationResult::Failed(self.retire(fault).to_string())
    }
}

/// Bytes that a call left on the guest's heap, negative when it freed more than it allocated;
/// `None` without attribution.
fn live_bytes_delta(before: &PluginReading, after: &PluginReading) -> Option<i64> {
    let (before, after) = (before.heap_live?, after.heap_live?);
    i64::try_from(i128::from(after) - i128::from(before)).ok()
}
