//! The spans of a request: one for the request itself, one for each call of a plugin.
//!
//! Typed functions rather than the general API, so that a span always has the same attributes. Where
//! nothing is recorded (no endpoint, or a trace that is not sampled) they do nothing; what remains is
//! the trace id. Names follow OpenTelemetry's semantic conventions for HTTP servers, and `leak.*` for
//! what is the lab's own.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, Version, header};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

use super::context::{TraceContext, parent_of};
use super::metrics::InvocationOutcome;
use super::span_queue::SpanQueue;

/// Longest text taken from a request into an attribute, in bytes: a client must not fill the queue.
const MAX_TEXT: usize = 256;

/// Starts the spans of requests.
#[derive(Debug, Clone)]
pub(crate) struct Tracer {
    sdk: Option<SdkTracer>,
}

impl Tracer {
    /// Records nothing.
    pub(crate) fn off() -> Self {
        Self { sdk: None }
    }

    /// Records into a queue. The SDK reads the span limits (`OTEL_SPAN_*_COUNT_LIMIT`) from the
    /// environment by itself; everything else is given here.
    pub(super) fn recording(queue: SpanQueue, sampler: Sampler, resource: Resource) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self {
            sdk: Some(provider.tracer_with_scope(scope)),
        }
    }

    /// Starts a request. `route` is the route's template, empty when no route matched.
    pub(crate) fn request<B>(&self, request: &Request<B>, route: &str) -> RequestSpan {
        let parent = parent_of(request.headers());
        let Some(sdk) = &self.sdk else {
            return RequestSpan {
                context: TraceContext::unrecorded(parent),
                span: None,
            };
        };
        let parent_context = match parent.clone() {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let method = method_name(request.method());
        let name = if route.is_empty() {
            method.to_owned()
        } else {
            format!("{method} {route}")
        };
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("http.request.method", method)]);
        let mut span = sdk.build_with_context(builder, &parent_context);
        let context = span.span_context().clone();
        if !span.is_recording() {
            // Not sampled, yet part of the trace under the id that the sampler decided on.
            let named = if context.is_valid() {
                Some(context)
            } else {
                parent
            };
            return RequestSpan {
                context: TraceContext::unrecorded(named),
                span: None,
            };
        }
        span.set_attribute(KeyValue::new("url.scheme", "http"));
        span.set_attribute(KeyValue::new("url.path", shortened(request.uri().path())));
        if !route.is_empty() {
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        if let Some(version) = protocol_version(request.version()) {
            span.set_attribute(KeyValue::new("network.protocol.version", version));
        }
        if let Some(agent) = request
            .headers()
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
        {
            span.set_attribute(KeyValue::new("user_agent.original", shortened(agent)));
        }
        RequestSpan {
            context: TraceContext::recorded(context, sdk.clone()),
            span: Some(span),
        }
    }
}

/// A request that is being answered. Dropped before its end, the request was given up by its client;
/// the span then ends without a status.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    context: TraceContext,
    span: Option<Span>,
}

impl RequestSpan {
    /// The request's place in its trace, for its handler.
    pub(crate) fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Answers the request: every line that is logged meanwhile carries its trace id.
    pub(crate) fn log<W: Future>(&self, answering: W) -> impl Future<Output = W::Output> + use<W> {
        self.context.log(answering)
    }

    /// The answer's head is ready.
    pub(crate) fn end(mut self, status: StatusCode) {
        let Some(span) = &mut self.span else { return };
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// A call of a plugin that is under way; a child of the request's span.
#[derive(Debug)]
pub(crate) struct InvocationSpan(Option<Span>);

/// What a plugin's pattern holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RetainedReading {
    /// Objects, in the plugin's unit.
    pub(crate) objects: u64,
    /// Bytes.
    pub(crate) bytes: u64,
}

/// How a call of a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InvocationEnd {
    /// What became of it.
    pub(crate) outcome: InvocationOutcome,
    /// Which instance of the plugin it was.
    pub(crate) generation: u64,
    /// What the pattern held before and after; `None` when the call did not come back with it.
    pub(crate) retained: Option<(RetainedReading, RetainedReading)>,
    /// Bytes that the call left behind on the guest's heap, negative when it freed more; `None` when
    /// unknown.
    pub(crate) live_bytes_delta: Option<i64>,
    /// Time from the request's wish for the call to its begin.
    pub(crate) waited: Option<Duration>,
}

impl InvocationSpan {
    /// Starts the call's span, if the request is recorded.
    pub(crate) fn start(request: &TraceContext, plugin: &Arc<str>) -> Self {
        Self(request.parent().map(|(tracer, parent)| {
            let builder = SpanBuilder::from_name(format!("invoke {plugin}"))
                .with_kind(SpanKind::Internal)
                .with_attributes([KeyValue::new("leak.plugin", Arc::clone(plugin))]);
            tracer.build_with_context(builder, &parent)
        }))
    }

    /// Linear memory grew during the call: an event on the span.
    pub(crate) fn memory_grew(&mut self, before_bytes: u64, after_bytes: u64) {
        if let Some(span) = &mut self.0 {
            let attributes = vec![
                KeyValue::new("linear_memory.bytes.before", number(before_bytes)),
                KeyValue::new("linear_memory.bytes.after", number(after_bytes)),
            ];
            span.add_event("linear_memory.grow", attributes);
        }
    }

    /// The call is over.
    pub(crate) fn end(mut self, end: &InvocationEnd) {
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

/// The method, or what the conventions put for one that is not known.
fn method_name(method: &Method) -> &'static str {
    super::metrics::method_label(method)
}

fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// The first [`MAX_TEXT`] bytes, cut between characters.
fn shortened(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or_default()
        .to_owned()
}
