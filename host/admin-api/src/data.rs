//! `GET /api/data`: the request that leaks.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::Lab;
use super::body::read_small;
use super::error::{ApiError, ErrorBody};
use plugin_host::driver::InvocationResult;
use plugin_host::driver::handle::Plugin;
use plugin_host::instance::request::{GuestRequest, RequestHead};
use telemetry::context::TraceContext;

/// Bytes of a body that plugins get to see.
const PREVIEW: usize = 1 << 10;

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Data {
    /// The service's name.
    service: String,
    /// A UUID.
    request_id: String,
    /// 32 hexadecimal digits: the trace of this request.
    trace_id: String,
    /// Time taken.
    duration_ms: f64,
    /// The leaks that ran.
    #[serde(serialize_with = "ids")]
    #[schema(value_type = Vec<String>)]
    leaks_triggered: Vec<Arc<Plugin>>,
    /// The leaks that are on but failed.
    leaks_failed: Vec<LeakFailure>,
    /// The payload.
    data: Payload,
}

fn ids<S: Serializer>(plugins: &[Arc<Plugin>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(plugins.iter().map(|plugin| plugin.id()))
}

/// A leak that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeakFailure {
    /// Its name.
    leak: String,
    /// Why.
    reason: String,
}

/// What the client wanted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Payload {
    /// A greeting.
    message: &'static str,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    timestamp: String,
}

/// Statuses that a request can ask to be answered with. Few, since each makes series of its own.
const FAILURES: [StatusCode; 4] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// Runs every leak that is on, once. 200 unless the client asks for a failure: a plugin that fails is named in
/// `leaks_failed`. `fail=503` is answered with 503, after the leaks have run: for leaks on the error path.
#[utoipa::path(get, path = "/api/data", tag = "service",
    params(("fail" = Option<u16>, Query, description = "The status to fail with: 500, 502, 503 or 504")),
    responses((status = 200, body = Data), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 500, body = ErrorBody),
        (status = 502, body = ErrorBody), (status = 503, body = ErrorBody), (status = 504, body = ErrorBody)))]
pub(super) async fn data(
    State(lab): State<Arc<Lab>>,
    Extension(trace): Extension<TraceContext>,
    request: Request,
) -> Result<Json<Data>, ApiError> {
    let started = Instant::now();
    let now = Timestamp::now();
    lab.requests.fetch_add(1, Ordering::Relaxed);
    let request_id = uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string();
    let trace_id = trace.trace_id_hex();
    if !lab.base_latency.is_zero() {
        tokio::time::sleep(lab.base_latency).await;
    }

    let failure = asked_to_fail(request.uri().query().unwrap_or_default())?;
    let (parts, body) = request.into_parts();
    let preview = if body.is_end_stream() {
        Vec::new()
    } else {
        // Of its own memory: hardly any request has a body.
        Box::pin(read_small(&parts.headers, body, &lab)).await?
    };
    let for_guests = || {
        let head = RequestHead {
            id: &request_id,
            time_unix_ms: u64::try_from(now.as_millisecond()).unwrap_or(0),
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            body_preview: &String::from_utf8_lossy(preview.get(..PREVIEW).unwrap_or(&preview)),
            status: failure.unwrap_or(StatusCode::OK).as_u16(),
            elapsed_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            trace_id: &trace_id,
        };
        GuestRequest::new(&head, parts.headers.iter().map(as_text))
    };
    let handled = lab.registry.dispatch(for_guests, &trace).await;

    let mut leaks_triggered = Vec::with_capacity(handled.len());
    let mut leaks_failed = Vec::new();
    for one in handled {
        match one.result {
            InvocationResult::Triggered => leaks_triggered.push(one.plugin),
            InvocationResult::Skipped => {}
            InvocationResult::Failed(reason) => leaks_failed.push(LeakFailure {
                leak: one.plugin.id().to_owned(),
                reason,
            }),
        }
    }
    if let Some(status) = failure {
        return Err(ApiError::new(
            status,
            "asked_to_fail",
            format!("this request asked for {status}"),
            "leave out the query parameter fail",
        ));
    }
    Ok(Json(Data {
        service: lab.service_name.clone(),
        request_id,
        trace_id,
        duration_ms: started.elapsed().as_secs_f64() * 1e3,
        leaks_triggered,
        leaks_failed,
        data: Payload {
            message: "Hello from the leaky service",
            timestamp: now.to_string(),
        },
    }))
}

/// A header as plugins get it: its value need not be UTF-8.
fn as_text<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> (&'a str, Cow<'a, str>) {
    (name.as_str(), String::from_utf8_lossy(value.as_bytes()))
}

/// The status that a query asks to be answered with.
fn asked_to_fail(query: &str) -> Result<Option<StatusCode>, ApiError> {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("fail="));
    asked
        .map(|status| {
            let known = FAILURES.into_iter().find(|known| known.as_str() == status);
            known.ok_or_else(|| ApiError::invalid_value("fail", "takes 500, 502, 503 or 504"))
        })
        .transpose()
}
