//! A request's call: whether the guest gets it, what it does, and what is measured of it.

use std::time::{Duration, Instant};

use super::Driver;
use crate::dispatch::fan_out::Call;
use crate::dispatch::invocation_span::{InvocationEnd, InvocationSpan, RetainedReading};
use crate::dispatch::request::Request;
use crate::driver::InvocationResult;
use crate::driver::published_state::{Reading, not_running};
use crate::driver::target::Step;
use crate::error::PluginError;
use crate::instance::Retained;
use crate::metrics::InvocationOutcome;

impl Driver {
    /// Makes one call: whether it is for the guest, the call, and what it has changed. The call has waited for the
    /// driver since `in_turn`.
    pub(crate) async fn invoke(&mut self, call: &Call, in_turn: Instant) -> InvocationResult {
        let (request, trace) = (call.request(), call.trace());
        let before = self.reading;
        let started = Instant::now();
        match self.admit(started, in_turn) {
            Err(result) => result,
            Ok((deadline, payload)) => {
                let mut span = InvocationSpan::start(trace, &self.name);
                let (outcome, took, result) = self.call(request, payload, deadline, started).await;
                self.read_memory();
                let after = self.reading;
                let delta = heap_delta(&before, &after);
                self.metrics.invoked(outcome, took, delta);
                if after.linear.bytes > before.linear.bytes {
                    span.memory_grew(before.linear.bytes, after.linear.bytes);
                }
                span.end(&InvocationEnd {
                    outcome,
                    generation: before.generation,
                    retained: Some((shown(before.retained), shown(after.retained))),
                    live_bytes_delta: delta,
                    waited: Some(started - call.since()),
                });
                self.board.publish(&self.reading);
                result
            }
        }
    }

    /// Whether a request is for the guest, how long it may take, and what the guest is told to retain of it, if
    /// that is not what it was told last.
    fn admit(
        &mut self,
        now: Instant,
        in_turn: Instant,
    ) -> Result<(Duration, Option<u64>), InvocationResult> {
        if let Err(error) = not_running(self.id(), &self.details.state) {
            self.metrics
                .invoked(InvocationOutcome::Unavailable, Duration::ZERO, None);
            return Err(InvocationResult::Failed(error.to_string()));
        }
        if !self.board.enabled() {
            return Err(InvocationResult::Skipped);
        }
        let policy = self.details.settings.policy();
        if now.saturating_duration_since(in_turn) > policy.patience() {
            // Its request has been answered without it. What is behind it does not wait for it, either.
            self.metrics
                .invoked(InvocationOutcome::Busy, Duration::ZERO, None);
            let overloaded = PluginError::Overloaded(self.id().to_owned());
            return Err(InvocationResult::Failed(overloaded.to_string()));
        }
        self.reading.requests += 1;
        self.reading.requests_since_clear += 1;
        let full = policy
            .retained_max
            .is_some_and(|most| self.reading.retained.bytes >= most);
        if full || (policy.probability < 1.0 && rand::random::<f64>() >= policy.probability) {
            self.board.publish(&self.reading);
            return Err(InvocationResult::Skipped);
        }
        let settings = &self.details.settings;
        // The fixed variant is to show that it stays flat.
        let target = policy.target.filter(|_| settings.variant() == "leaky");
        let payload = settings.payload().map_or(0, |(_, bytes)| bytes);
        let retained = self.reading.retained.bytes;
        match self.course.step(target, payload, retained, now) {
            Step::AsSet => Ok((policy.deadline, None)),
            Step::Retain(bytes) => Ok((policy.deadline, Some(bytes))),
            Step::Skip => {
                self.board.publish(&self.reading);
                Err(InvocationResult::Skipped)
            }
        }
    }

    /// Tells the guest what to retain of the next request, as near to it as its setting allows.
    async fn tell_payload(
        &mut self,
        bytes: u64,
        deadline: Duration,
    ) -> Result<(), (InvocationOutcome, InvocationResult)> {
        let settings = self.details.settings.clone();
        let Some((spec, _)) = settings.payload() else {
            return Ok(());
        };
        let value = spec.nearest(bytes);
        match self
            .instance
            .configure(std::iter::once((spec, &value)), deadline)
            .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => Err((
                InvocationOutcome::Error,
                InvocationResult::Failed(refusal.to_string()),
            )),
            Err(fault) => Err((
                fault.kind.outcome(),
                InvocationResult::Failed(self.retire(fault).to_string()),
            )),
        }
    }

    async fn call(
        &mut self,
        request: &Request,
        payload: Option<u64>,
        deadline: Duration,
        mut begun: Instant,
    ) -> (InvocationOutcome, Duration, InvocationResult) {
        if let Some(bytes) = payload {
            if let Err((outcome, result)) = self.tell_payload(bytes, deadline).await {
                return (outcome, Duration::ZERO, result);
            }
            begun = Instant::now();
        }
        let answer = self.instance.on_request(request, deadline).await;
        let took = begun.elapsed();
        let (outcome, result) = match answer {
            Ok(Ok(outcome)) => {
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
            Err(fault) => {
                let outcome = fault.kind.outcome();
                (
                    outcome,
                    InvocationResult::Failed(self.retire(fault).to_string()),
                )
            }
        };
        (outcome, took, result)
    }
}

/// Bytes that a call left behind on the guest's heap; none without attribution.
fn heap_delta(before: &Reading, after: &Reading) -> Option<i64> {
    let (before, after) = (before.heap_live?, after.heap_live?);
    i64::try_from(i128::from(after) - i128::from(before)).ok()
}

fn shown(retained: Retained) -> RetainedReading {
    RetainedReading {
        objects: retained.objects,
        bytes: retained.bytes,
    }
}
