//! Traces: the span of each request, and the sampling decision for the spans below it.
//!
//! Typed functions in place of the general API give every span the same attributes. They do nothing
//! when the service exports no traces or the trace is not sampled; only the trace id remains.
//! Names follow OpenTelemetry's semantic conventions for HTTP servers.

use axum::http::{Request, StatusCode, Version, header};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

use super::context::{TraceContext, parent_of};
use super::instrumentation_scope;
use super::metrics::method_label;
use super::span_queue::SpanQueue;

/// The longest text of a request in an attribute. A client must not fill the queue.
const MAX_TEXT_BYTES: usize = 256;

/// Starts the spans of requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracer {
    sdk: Option<SdkTracer>,
}

impl Tracer {
    /// A tracer that records no spans.
    pub fn disabled() -> Self {
        Self { sdk: None }
    }

    /// A tracer that records into a queue. The SDK itself reads the span limits
    /// (`OTEL_SPAN_*_COUNT_LIMIT`) from the environment. The caller passes everything else.
    pub(super) fn recording(queue: SpanQueue, sampler: Sampler, resource: Resource) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        Self {
            sdk: Some(provider.tracer_with_scope(instrumentation_scope())),
        }
    }

    /// The trace context of a request without a span of its own. Its calls are not recorded either.
    pub fn untraced<B>(request: &Request<B>) -> RequestSpan {
        RequestSpan {
            context: TraceContext::unrecorded(parent_of(request.headers())),
            span: None,
        }
    }

    /// Starts the span of a request. `route` is the route's template, or empty when no route
    /// matched.
    pub fn request<B>(&self, request: &Request<B>, route: &str) -> RequestSpan {
        let Some(sdk) = &self.sdk else {
            return Self::untraced(request);
        };
        let parent = parent_of(request.headers());
        let parent_context = match parent.clone() {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let method = method_label(request.method());
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
            // The request is not sampled, but it keeps the trace id that the sampler decided on.
            let unsampled = Some(context).filter(SpanContext::is_valid);
            return RequestSpan {
                context: TraceContext::unrecorded(unsampled.or(parent)),
                span: None,
            };
        }
        span.set_attribute(KeyValue::new("url.scheme", "http"));
        span.set_attribute(KeyValue::new("url.path", truncated(request.uri().path())));
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
            span.set_attribute(KeyValue::new("user_agent.original", truncated(agent)));
        }
        RequestSpan {
            context: TraceContext::recorded(context, sdk.clone()),
            span: Some(span),
        }
    }
}

/// The span of a request in progress. A client that disconnects drops the request: the span then
/// ends without a status code.
#[derive(Debug)]
pub struct RequestSpan {
    context: TraceContext,
    span: Option<Span>,
}

impl RequestSpan {
    /// The trace context for the handler of the request.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Runs the handler of the request. Every line that it logs carries the trace id.
    pub fn with_trace_id<F: Future>(&self, handler: F) -> impl Future<Output = F::Output> + use<F> {
        self.context.with_trace_id(handler)
    }

    /// Ends the span. Call it when the head of the response is ready.
    pub fn end(mut self, status: StatusCode) {
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

fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// The first [`MAX_TEXT_BYTES`], cut between characters.
fn truncated(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES))
        .unwrap_or_default()
        .to_owned()
}
