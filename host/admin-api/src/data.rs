//! `GET /api/data`: the request that leaks.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::body::read_small;
use crate::error::{ApiError, ErrorBody};
use crate::state::ApiState;
use plugin_host::driver::InvocationResult;
use plugin_host::driver::handle::Plugin;
use plugin_host::instance::request::{GuestRequest, RequestHead};
use telemetry::context::TraceContext;

/// The longest part of a body that plugins get, in bytes.
const MAX_PREVIEW_BYTES: usize = 1 << 10;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Data {
    /// The service's name.
    service: String,
    /// A random UUID.
    request_id: String,
    /// 32 hexadecimal digits: the trace of this request.
    trace_id: String,
    /// The time from the request's head to this answer, in milliseconds.
    duration_ms: f64,
    /// The leaks that ran, in plugin-id order.
    #[serde(serialize_with = "ids")]
    #[schema(value_type = Vec<String>)]
    leaks_triggered: Vec<Arc<Plugin>>,
    /// The leaks that are on but failed, with the reason.
    leaks_failed: Vec<LeakFailure>,
    data: Payload,
}

fn ids<S: Serializer>(plugins: &[Arc<Plugin>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(plugins.iter().map(|plugin| plugin.id()))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeakFailure {
    leak: String,
    reason: String,
}

/// The service's useful work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Payload {
    message: &'static str,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    timestamp: String,
}

/// The statuses that `fail` accepts. Each status creates its own series, so there are only four.
const FAILURE_STATUSES: [StatusCode; 4] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// Runs every leak that is on, once. A plugin that fails does not change the status; it is listed
/// in `leaks_failed`. With `fail=503` the answer is 503 after the leaks have run: for leaks on the
/// error path.
#[utoipa::path(get, path = "/api/data", tag = "service",
    params(("fail" = Option<u16>, Query, description = "The status of the answer: 500, 502, 503 or 504")),
    responses((status = 200, body = Data), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 500, body = ErrorBody),
        (status = 502, body = ErrorBody), (status = 503, body = ErrorBody), (status = 504, body = ErrorBody)))]
pub(crate) async fn data(
    State(state): State<Arc<ApiState>>,
    Extension(trace): Extension<TraceContext>,
    request: Request,
) -> Result<Json<Data>, ApiError> {
    let started = Instant::now();
    let now = Timestamp::now();
    let failure = requested_status(request.uri().query().unwrap_or_default())?;
    state.count_request();
    let request_id = uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string();
    let trace_id = trace.trace_id_hex();
    if !state.options.base_latency.is_zero() {
        tokio::time::sleep(state.options.base_latency).await;
    }

    let (parts, body) = request.into_parts();
    let preview = if body.is_end_stream() {
        Vec::new()
    } else {
        // Boxed: hardly any request has a body, and every request's future would have room for it.
        Box::pin(read_small(&parts.headers, body, &state)).await?
    };
    let guest_request = || {
        let head = RequestHead {
            id: &request_id,
            time_unix_ms: u64::try_from(now.as_millisecond()).unwrap_or(0),
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            body_preview: &String::from_utf8_lossy(
                preview.get(..MAX_PREVIEW_BYTES).unwrap_or(&preview),
            ),
            status: failure.unwrap_or(StatusCode::OK).as_u16(),
            elapsed_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            trace_id: &trace_id,
        };
        GuestRequest::new(&head, parts.headers.iter().map(header_text))
    };
    let results = state.registry.dispatch(guest_request, &trace).await;

    let mut leaks_triggered = Vec::with_capacity(results.len());
    let mut leaks_failed = Vec::new();
    for one in results {
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
        return Err(ApiError::requested_failure(status));
    }
    Ok(Json(Data {
        service: state.options.service_name.clone(),
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

/// A header as plugins get it. Bytes that are not UTF-8 become U+FFFD.
fn header_text<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> (&'a str, Cow<'a, str>) {
    (name.as_str(), String::from_utf8_lossy(value.as_bytes()))
}

/// The value of `fail` in a query.
fn requested_status(query: &str) -> Result<Option<StatusCode>, ApiError> {
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("fail="));
    wanted
        .map(|wanted| {
            let status = FAILURE_STATUSES
                .into_iter()
                .find(|status| status.as_str() == wanted);
            status.ok_or_else(|| ApiError::invalid_value("fail", "takes 500, 502, 503 or 504"))
        })
        .transpose()
}
