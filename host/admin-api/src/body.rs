//! Request bodies.
//!
//! A JSON body is accepted whatever its `Content-Type`, and an empty body counts as `{}`: the
//! commands of the lab's exercises send both. All bodies have a limit of size, a minimum rate, and
//! a budget for all clients together.

mod json;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value};

use crate::body_budget::BodyShare;
use crate::error::{ApiError, ErrorCode, shorten};
use crate::state::ApiState;
use plugin_host::error::PluginError;

/// The largest body of a call that takes no component, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// How long a client may go on sending a body that is too large.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that sends nothing for this long waits for the answer.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// The time over which the rate of a body is measured.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The bytes of a body that arrive within [`RATE_WINDOW`] at least, unless it ends: 16 KiB per
/// second.
const MIN_WINDOW_BYTES: usize = 160 << 10;

/// Why a body was not read.
enum BodyError {
    /// The body is longer than the limit. The length is known if the client announced it.
    TooLarge(Option<u64>),
    /// The body did not arrive completely.
    Incomplete,
    /// The client paused for too long, or sent less than the minimum rate.
    TooSlow,
    /// The bodies of other clients take the budget.
    NoRoom,
}

/// Reads a body of at most `limit` bytes, whose bytes become a part of `share`. `timeout` bounds
/// the pause between two parts.
///
/// A client that is still sending does not see an answer. The rest of a body that is too large is
/// therefore received and dropped, for at most [`DRAIN_TIMEOUT`].
async fn read_body(
    headers: &HeaderMap,
    mut body: Body,
    limit: u64,
    timeout: Duration,
    share: &mut BodyShare,
) -> Result<Vec<u8>, BodyError> {
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let expects_continue = headers.contains_key(header::EXPECT);
    if announced.is_some_and(|size| size > limit) {
        // A client that waits for `100 Continue` has not started to send.
        if !expects_continue {
            drain(body).await;
        }
        return Err(BodyError::TooLarge(announced));
    }
    if announced.is_some_and(|size| size > share.left()) {
        if !expects_continue {
            drain(body).await;
        }
        return Err(BodyError::NoRoom);
    }
    let mut bytes = Vec::new();
    // A body of known length needs no second buffer while it grows.
    bytes.reserve_exact(announced.and_then(|size| size.try_into().ok()).unwrap_or(0));
    let mut window = RateWindow::start();
    loop {
        let next = tokio::time::timeout(timeout.min(window.left()), body.frame()).await;
        let Ok(next) = next else {
            if window.left().is_zero() && window.is_fast_enough() {
                window = RateWindow::start();
                continue;
            }
            return Err(BodyError::TooSlow);
        };
        let Some(frame) = next else {
            return Ok(bytes);
        };
        let frame = frame.map_err(|_| BodyError::Incomplete)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if (bytes.len() + data.len()) as u64 > limit {
            drain(body).await;
            return Err(BodyError::TooLarge(None));
        }
        if share.grow(data.len() as u64).is_err() {
            drop(bytes);
            drain(body).await;
            return Err(BodyError::NoRoom);
        }
        bytes.extend_from_slice(&data);
        window.bytes += data.len();
    }
}

/// The bytes of a body since the start of a [`RATE_WINDOW`].
struct RateWindow {
    until: Instant,
    bytes: usize,
}

impl RateWindow {
    fn start() -> Self {
        RateWindow {
            until: Instant::now() + RATE_WINDOW,
            bytes: 0,
        }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn is_fast_enough(&self) -> bool {
        self.bytes >= MIN_WINDOW_BYTES
    }
}

async fn drain(mut body: Body) {
    let mut next = async || tokio::time::timeout(DRAIN_PAUSE, body.frame()).await;
    let reading = async { while let Ok(Some(Ok(_))) = next().await {} };
    // After the timeout the connection is closed while the client still sends.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
}

impl BodyError {
    /// The error for the client. `too_large` makes it for a body of this size, if known.
    fn into_api_error(self, too_large: impl FnOnce(Option<u64>) -> ApiError) -> ApiError {
        match self {
            BodyError::TooLarge(size) => too_large(size),
            BodyError::Incomplete => ApiError::new(
                ErrorCode::BodyUnreadable,
                "the body did not arrive completely",
                "send it again; nothing was changed",
            ),
            BodyError::TooSlow => ApiError::new(
                ErrorCode::BodyTooSlow,
                "the body arrives too slowly",
                "send at least 16 KiB per second, without long pauses; nothing was changed",
            ),
            BodyError::NoRoom => ApiError::uploads_full(),
        }
    }
}

/// Reads a body of at most [`MAX_BODY_BYTES`].
pub(crate) async fn read_small(
    headers: &HeaderMap,
    body: Body,
    state: &ApiState,
) -> Result<Vec<u8>, ApiError> {
    let (limit, timeout) = (MAX_BODY_BYTES as u64, state.client_timeout());
    let mut share = state.small_bodies.share();
    let read = read_body(headers, body, limit, timeout, &mut share).await;
    let too_large = |_| {
        ApiError::new(
            ErrorCode::BodyTooLarge,
            format!("the body is larger than {MAX_BODY_BYTES} bytes"),
            "send a smaller one; nothing was changed",
        )
    };
    read.map_err(|error| error.into_api_error(too_large))
}

/// A check of a request that runs when its body is complete: a body can take so long that the state
/// of the host has changed meanwhile.
#[derive(Clone)]
pub(crate) struct AfterBody(pub(crate) Arc<dyn Fn() -> Result<(), ApiError> + Send + Sync>);

/// A body that is a JSON object.
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

impl FromRequest<Arc<ApiState>> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<ApiState>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_small(&parts.headers, body, state).await?;
        if let Some(AfterBody(check)) = parts.extensions.get() {
            check()?;
        }
        json::parse_object(&bytes).map(JsonObject)
    }
}

impl JsonObject {
    /// Removes a field and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// 422 if a field is left. `known` are the fields that the call accepts.
    ///
    /// A misspelt field must not be ignored: `{"leaktype": "cache"}` would clear every leak.
    pub(crate) fn reject_unknown(self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::new(
                ErrorCode::UnknownField,
                format!("this call has no field {:?}", shorten(name)),
                match known {
                    [] => "send no body, or {}".to_owned(),
                    _ => format!("it accepts: {}", known.join(", ")),
                },
            )),
        }
    }
}

/// A body that is a component of at most `--max-plugin-size`. It takes its part of the budget for
/// uploads until the call ends.
pub(crate) struct ComponentBody {
    pub(crate) component: Arc<[u8]>,
    _share: BodyShare,
}

impl FromRequest<Arc<ApiState>> for ComponentBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<ApiState>) -> Result<Self, ApiError> {
        let limit = state.registry.loader().max_size();
        let (parts, body) = request.into_parts();
        let (timeout, mut share) = (state.client_timeout(), state.uploads.share());
        let read = read_body(&parts.headers, body, limit, timeout, &mut share).await;
        let too_large = |size| PluginError::TooLarge { size, limit }.into();
        let bytes = read.map_err(|error| error.into_api_error(too_large))?;
        if bytes.is_empty() {
            return Err(ApiError::new(
                ErrorCode::MissingComponent,
                "the body is empty",
                "send a component: curl -T plugin.wasm URL; nothing was changed",
            ));
        }
        Ok(ComponentBody {
            component: bytes.into(),
            _share: share,
        })
    }
}
