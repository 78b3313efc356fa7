//! The span of one plugin call.
//!
//! A typed function rather than the general API, so that a span always has the same attributes.
//! Without a recorded parent it does nothing. Attribute names are `leak.*`.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _};
use opentelemetry_sdk::trace::Span;
use telemetry::context::TraceContext;

use crate::metrics::InvocationOutcome;

/// A call of a plugin that is under way; a child of the request's span.
#[derive(Debug)]
pub struct InvocationSpan(Option<Span>);

/// What a plugin's pattern holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetainedReading {
    /// Objects, in the plugin's unit.
    pub objects: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How a call of a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvocationEnd {
    /// What became of it.
    pub outcome: InvocationOutcome,
    /// Which instance of the plugin it was.
    pub generation: u64,
    /// What the pattern held before and after; `None` when the call did not come back with it.
    pub retained: Option<(RetainedReading, RetainedReading)>,
    /// Bytes that the call left behind on the guest's heap, negative when it freed more; `None` when
    /// unknown.
    pub live_bytes_delta: Option<i64>,
    /// Time from the request's wish for the call to its begin.
    pub waited: Option<Duration>,
}

impl InvocationSpan {
    /// Starts the call's span, if the request is recorded.
    pub fn start(request: &TraceContext, plugin: &Arc<str>) -> Self {
        Self(request.parent().map(|(tracer, parent)| {
            let builder = SpanBuilder::from_name(format!("invoke {plugin}"))
                .with_kind(SpanKind::Internal)
                .with_attributes([KeyValue::new("leak.plugin", Arc::clone(plugin))]);
            tracer.build_with_context(builder, &parent)
        }))
    }

    /// Linear memory grew during the call: an event on the span.
    pub fn memory_grew(&mut self, before_bytes: u64, after_bytes: u64) {
        if let Some(span) = &mut self.0 {
            let attributes = vec![
                KeyValue::new("linear_memory.bytes.before", number(before_bytes)),
                KeyValue::new("linear_memory.bytes.after", number(after_bytes)),
            ];
            span.add_event("linear_memory.grow", attributes);
        }
    }

    /// The call is over.
    pub fn end(mut self, end: &InvocationEnd) {
        let Some(span) = &mut self.0 else { return };
        span.set_attribute(KeyValue::new("leak.outcome", end.outcome.label()));
        span.set_attribute(KeyValue::new("leak.generation", number(end.generation)));
        if let Some((before, after)) = end.retained {
            span.set_attribute(KeyValue::new(
                "leak.retained_bytes.before",
                number(before.bytes),
            ));
            span.set_attribute(KeyValue::new(
                "leak.retained_bytes.after",
                number(after.bytes),
            ));
            span.set_attribute(KeyValue::new(
                "leak.retained_objects.before",
                number(before.objects),
            ));
            span.set_attribute(KeyValue::new(
                "leak.retained_objects.after",
                number(after.objects),
            ));
        }
        if let Some(delta) = end.live_bytes_delta {
            span.set_attribute(KeyValue::new("leak.heap_live_bytes.delta", delta));
        }
        if let Some(waited) = end.waited {
            span.set_attribute(KeyValue::new("leak.wait_seconds", waited.as_secs_f64()));
        }
        if end.outcome != InvocationOutcome::Ok {
            span.set_attribute(KeyValue::new("error.type", end.outcome.label()));
            span.set_status(Status::error(end.outcome.label()));
        }
        span.end();
    }
}

/// Attributes are signed.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
