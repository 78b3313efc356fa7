//! Request bodies.
//!
//! A JSON body is accepted whatever its `Content-Type`, and an empty body counts as `{}`: the
//! commands of the lab's exercises send both.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value};

use crate::error::{ApiError, ErrorCode, shorten};
use crate::state::ApiState;
use plugin_host::error::PluginError;

/// The largest body of a call that takes no component, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// How long a client may go on sending a body that is too large.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that sends nothing for this long waits for the answer.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// Why a body was not read.
enum BodyError {
    /// The body is longer than the limit. The length is known if the client announced it.
    TooLarge(Option<u64>),
    /// The body did not arrive completely.
    Incomplete,
}

/// Reads a body of at most `limit` bytes. `timeout` bounds the pause between two parts.
///
/// A client that is still sending does not see an answer. The rest of a body that is too large is
/// therefore received and dropped, for at most [`DRAIN_TIMEOUT`].
async fn read_body(
    headers: &HeaderMap,
    mut body: Body,
    limit: u64,
    timeout: Duration,
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
    let mut bytes = Vec::new();
    loop {
        let next = tokio::time::timeout(timeout, body.frame()).await;
        let Some(frame) = next.map_err(|_| BodyError::Incomplete)? else {
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
        bytes.extend_from_slice(&data);
    }
}

async fn drain(mut body: Body) {
    let mut next = async || tokio::time::timeout(DRAIN_PAUSE, body.frame()).await;
    let reading = async { while let Ok(Some(Ok(_))) = next().await {} };
    // After the timeout the connection is closed while the client still sends.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
}

fn incomplete() -> ApiError {
    ApiError::new(
        ErrorCode::BodyUnreadable,
        "the body did not arrive completely",
        "send it again; nothing was changed",
    )
}

/// Reads a body of at most [`MAX_BODY_BYTES`].
pub(crate) async fn read_small(
    headers: &HeaderMap,
    body: Body,
    state: &ApiState,
) -> Result<Vec<u8>, ApiError> {
    read_body(headers, body, MAX_BODY_BYTES as u64, state.client_timeout())
        .await
        .map_err(|error| match error {
            BodyError::Incomplete => incomplete(),
            BodyError::TooLarge(_) => ApiError::new(
                ErrorCode::BodyTooLarge,
                format!("the body is larger than {MAX_BODY_BYTES} bytes"),
                "send a smaller one; nothing was changed",
            ),
        })
}

/// A body that is a JSON object.
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

impl FromRequest<Arc<ApiState>> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<ApiState>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        parse(&read_small(&parts.headers, body, state).await?).map(JsonObject)
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let malformed = |message: String| {
        ApiError::new(
            ErrorCode::MalformedJson,
            message,
            "send a JSON object, like {\"enabled\": true}; nothing was changed",
        )
    };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(malformed("the body is JSON, but not an object".into())),
        Err(error) => Err(malformed(format!("the body is not JSON: {error}"))),
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

/// A body that is a component of at most `--max-plugin-size`.
pub(crate) struct ComponentBody(pub(crate) Arc<[u8]>);

impl FromRequest<Arc<ApiState>> for ComponentBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<ApiState>) -> Result<Self, ApiError> {
        let limit = state.registry.loader().max_size();
        let (parts, body) = request.into_parts();
        let read = read_body(&parts.headers, body, limit, state.client_timeout()).await;
        let bytes = read.map_err(|error| match error {
            BodyError::Incomplete => incomplete(),
            BodyError::TooLarge(size) => PluginError::TooLarge { size, limit }.into(),
        })?;
        if bytes.is_empty() {
            return Err(ApiError::new(
                ErrorCode::MissingComponent,
                "the body is empty",
                "send a component: curl -T plugin.wasm URL; nothing was changed",
            ));
        }
        Ok(ComponentBody(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_is_an_object_or_empty() {
        for (body, accepted) in [
            ("", true),
            (" \n", true),
            ("{}", true),
            ("[]", false),
            ("1", false),
            ("{", false),
            ("\u{feff}{}", false),
        ] {
            assert_eq!(parse(body.as_bytes()).is_ok(), accepted, "{body:?}");
        }
    }
}
