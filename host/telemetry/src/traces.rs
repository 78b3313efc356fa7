//! The spans of a request: one for the request itself, one for each call of a plugin.
//!
//! Typed functions rather than the general API, so that a span always has the same attributes. Where
//! nothing is recorded (no endpoint, or a trace that is not sampled) they do nothing; what remains is
//! the trace id. Names follow OpenTelemetry's semantic conventions for HTTP servers, and `leak.*` for
//! what is the lab's own.

use axum::http::{Method, Request, StatusCode, Version, header};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

use super::SCOPE_NAME;
use super::context::{TraceContext, parent_of};
use super::span_queue::SpanQueue;

/// Longest text taken from a request into an attribute, in bytes: a client must not fill the queue.
const MAX_TEXT: usize = 256;

/// Starts the spans of requests.
#[derive(Debug, Clone)]
pub struct Tracer {
    sdk: Option<SdkTracer>,
}

impl Tracer {
    /// Records nothing.
    pub fn off() -> Self {
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
        let scope = InstrumentationScope::builder(SCOPE_NAME)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self {
            sdk: Some(provider.tracer_with_scope(scope)),
        }
    }

    /// Starts a request. `route` is the route's template, empty when no route matched.
    pub fn request<B>(&self, request: &Request<B>, route: &str) -> RequestSpan {
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
pub struct RequestSpan {
    context: TraceContext,
    span: Option<Span>,
}

impl RequestSpan {
    /// The request's place in its trace, for its handler.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Answers the request: every line that is logged meanwhile carries its trace id.
    pub fn log<W: Future>(&self, answering: W) -> impl Future<Output = W::Output> + use<W> {
        self.context.log(answering)
    }

    /// The answer's head is ready.
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
