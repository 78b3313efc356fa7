//! The span of one plugin call.
//!
//! Typed functions instead of the general API, so that each span has the same attributes. They do
//! nothing without a recorded parent. Attribute names start with `leak.`.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _};
use opentelemetry_sdk::trace::Span;
use telemetry::context::TraceContext;

use crate::instance::Retained;
use crate::metrics::InvocationOutcome;

/// The span of a call in progress; a child of the request's span.
#[derive(Debug)]
pub struct InvocationSpan(Option<Span>);

/// How a call of a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvocationEnd {
    /// The outcome that metrics and traces report.
    pub outcome: InvocationOutcome,
    /// The generation of the instance that was called.
    pub generation: u64,
    /// What the pattern retained before the call.
    pub retained_before: Retained,
    /// What the pattern retains after the call.
    pub retained_after: Retained,
    /// Bytes that the call left on the guest's heap, negative when it freed more than it allocated;
    /// `None` without attribution.
    pub live_bytes_delta: Option<i64>,
    /// Time between the start of the request's fan-out and the start of the call.
    pub waited: Duration,
}

impl InvocationSpan {
    /// Starts the span, if the request is recorded.
    pub fn start(request: &TraceContext, plugin: &Arc<str>) -> Self {
        Self(request.parent().map(|(tracer, parent)| {
            let builder = SpanBuilder::from_name(format!("invoke {plugin}"))
                .with_kind(SpanKind::Internal)
                .with_attributes([KeyValue::new("leak.plugin", Arc::clone(plugin))]);
            tracer.build_with_context(builder, &parent)
        }))
    }

    /// Adds an event: linear memory grew during the call.
    pub fn memory_grew(&mut self, before_bytes: u64, after_bytes: u64) {
        if let Some(span) = &mut self.0 {
            let attributes = vec![
                KeyValue::new("linear_memory.bytes.before", number(before_bytes)),
                KeyValue::new("linear_memory.bytes.after", number(after_bytes)),
            ];
            span.add_event("linear_memory.grow", attributes);
        }
    }

    /// Ends the span.
    pub fn end(mut self, end: &InvocationEnd) {
        let Some(span) = &mut self.0 else { return };
        span.set_attribute(KeyValue::new("leak.outcome", end.outcome.label()));
        span.set_attribute(KeyValue::new("leak.generation", number(end.generation)));
        for (name, value) in [
            ("leak.retained_bytes.before", end.retained_before.bytes),
            ("leak.retained_bytes.after", end.retained_after.bytes),
            ("leak.retained_objects.before", end.retained_before.objects),
            ("leak.retained_objects.after", end.retained_after.objects),
        ] {
            span.set_attribute(KeyValue::new(name, number(value)));
        }
        if let Some(delta) = end.live_bytes_delta {
            span.set_attribute(KeyValue::new("leak.heap_live_bytes.delta", delta));
        }
        let waited = end.waited.as_secs_f64();
        span.set_attribute(KeyValue::new("leak.wait_seconds", waited));
        if end.outcome != InvocationOutcome::Ok {
            span.set_attribute(KeyValue::new("error.type", end.outcome.label()));
            span.set_status(Status::error(end.outcome.label()));
        }
        span.end();
    }
}

/// Attribute values are signed.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
