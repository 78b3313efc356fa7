//! The trace context of a request, and the headers that carry it.
//!
//! Every request has a trace id, also when the service exports no traces. The id is in the
//! response, in the log and in the plugin's input. It comes from a valid `traceparent` header of
//! the client (<https://www.w3.org/TR/trace-context/>), or the service generates it.

use std::fmt::{self, Write};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, trace::SpanId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer};

use super::log_trace_id;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Bytes of version (2), trace id (32), span id (16), flags (2) and three dashes.
const TRACEPARENT_LENGTH: usize = 55;
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace id and span id of one request. Cheap to clone. It travels with the request to the
/// plugin calls.
#[derive(Debug, Clone)]
pub struct TraceContext {
    span: SpanContext,
    /// Set when spans are recorded.
    tracer: Option<SdkTracer>,
}

impl TraceContext {
    /// A context whose child spans `tracer` records.
    pub(super) fn recorded(span: SpanContext, tracer: SdkTracer) -> Self {
        Self {
            span,
            tracer: Some(tracer),
        }
    }

    /// A context without recorded spans: the client's span, or a generated one.
    pub fn unrecorded(parent: Option<SpanContext>) -> Self {
        let span = parent.unwrap_or_else(|| {
            let ids = RandomIdGenerator::default();
            let mut trace_id = ids.new_trace_id();
            while trace_id == TraceId::INVALID {
                trace_id = ids.new_trace_id();
            }
            SpanContext::new(
                trace_id,
                ids.new_span_id(),
                TraceFlags::NOT_SAMPLED,
                false,
                TraceState::NONE,
            )
        });
        Self { span, tracer: None }
    }

    /// The trace id, never zero. It displays as 32 lower-case hexadecimal digits.
    pub fn trace_id(&self) -> TraceId {
        self.span.trace_id()
    }

    /// The trace id, if spans of the trace are recorded.
    pub fn recorded_trace_id(&self) -> Option<TraceId> {
        self.tracer.as_ref().map(|_| self.trace_id())
    }

    /// The trace id as 32 lower-case hexadecimal digits. Faster than its `Display`.
    pub fn trace_id_hex(&self) -> String {
        let id = uuid::Uuid::from_bytes(self.trace_id().to_bytes());
        id.simple().encode_lower(&mut [0; 32]).to_owned()
    }

    /// Runs a future for this request. Every line that it logs carries the trace id.
    pub fn with_trace_id<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        log_trace_id::scope(self.trace_id(), future)
    }

    /// The span id. It displays as 16 lower-case hexadecimal digits.
    pub fn span_id(&self) -> SpanId {
        self.span.span_id()
    }

    /// The tracer and the parent context for a child span; `None` when no spans are recorded.
    pub fn parent(&self) -> Option<(&SdkTracer, Context)> {
        let tracer = self.tracer.as_ref()?;
        Some((
            tracer,
            Context::new().with_remote_span_context(self.span.clone()),
        ))
    }

    /// Writes `traceparent`, and `tracestate` if the context has one.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let mut parent = String::with_capacity(TRACEPARENT_LENGTH);
        if write!(parent, "{self}").is_ok()
            && let Ok(value) = HeaderValue::try_from(parent)
        {
            headers.insert(TRACEPARENT, value);
        }
        let state = self.span.trace_state().header();
        if !state.is_empty()
            && let Ok(value) = HeaderValue::from_str(&state)
        {
            headers.insert(TRACESTATE, value);
        }
    }
}

impl fmt::Display for TraceContext {
    /// Formats the value of a `traceparent` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.span.trace_flags() & TraceFlags::SAMPLED;
        write!(f, "00-{}-{}-{flags:02x}", self.trace_id(), self.span_id())
    }
}

/// The client's span, if the headers name a valid one.
pub(super) fn parent_of(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let parent = given.next()?;
    // Reject two headers, and an id that is too short: the propagator would pad it, and the padded
    // id matches no span of the client.
    if given.next().is_some() || !has_full_ids(parent) {
        return None;
    }
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// Whether the fields have the lengths of the specification: 2, 32, 16, 2.
fn has_full_ids(traceparent: &HeaderValue) -> bool {
    let lengths = traceparent
        .as_bytes()
        .trim_ascii()
        .split(|&byte| byte == b'-')
        .map(<[u8]>::len);
    lengths.take(4).eq([2, 32, 16, 2])
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(traceparents: &[&str]) -> HeaderMap {
        let value = |text: &&str| (TRACEPARENT, HeaderValue::from_str(text).unwrap());
        traceparents.iter().map(value).collect()
    }

    #[test]
    fn a_valid_parent_is_used() {
        let mut headers = headers(&[PARENT]);
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=value"));
        let context = TraceContext::unrecorded(parent_of(&headers));
        assert_eq!(context.trace_id().to_string(), TRACE);
        let mut sent = HeaderMap::new();
        context.inject(&mut sent);
        assert_eq!(sent.get("traceparent").unwrap(), PARENT);
        assert_eq!(sent.get("tracestate").unwrap(), "vendor=value");
    }

    #[test]
    fn an_invalid_parent_is_ignored() {
        for (why, given) in [
            ("none", &[][..]),
            ("two", &[PARENT, PARENT]),
            ("empty", &[""]),
            (
                "zero trace",
                &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            ),
            (
                "zero span",
                &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            ),
            ("short trace", &["00-4bf92f35-00f067aa0ba902b7-01"]),
            (
                "short span",
                &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f0-01"],
            ),
            (
                "upper case",
                &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            ),
            (
                "no hex",
                &["00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01"],
            ),
            (
                "version 255",
                &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            ),
            (
                "too long",
                &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"],
            ),
        ] {
            assert_eq!(parent_of(&headers(given)), None, "{why}");
        }
    }

    #[test]
    fn an_id_is_generated_without_a_parent() {
        let (one, two) = (
            TraceContext::unrecorded(None),
            TraceContext::unrecorded(None),
        );
        assert_ne!(one.trace_id(), two.trace_id());
        let text = one.trace_id().to_string();
        assert_eq!(text.len(), 32);
        assert!(
            text.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "{text}"
        );
        let mut headers = HeaderMap::new();
        one.inject(&mut headers);
        assert!(!headers.contains_key(TRACESTATE));
        assert_eq!(parent_of(&headers).unwrap().trace_id(), one.trace_id());
        assert!(one.parent().is_none());
    }
}
