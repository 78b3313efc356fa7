//! Bodies as the lab's commands send them: JSON whatever the `Content-Type`, and nothing at all for `{}`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value};

use super::error::{ApiError, shorten};
use super::{BODY_MAX, Lab};

/// Time that a client gets to finish sending what is too large.
const DRAIN: Duration = Duration::from_secs(5);

/// One that sends nothing for so long is waiting for the answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Why there is no body.
pub(super) enum Unread {
    /// It has more bytes than are taken; how many, if the client has said so.
    TooLarge(Option<u64>),
    /// It did not arrive whole.
    Broken,
}

/// Reads a body of at most `limit` bytes, whose parts come within `patience` of each other. What is too large is read on
/// for a while and not kept: a client that is still sending does not see an answer.
pub(super) async fn read_whole(
    headers: &HeaderMap,
    mut body: Body,
    limit: u64,
    patience: Duration,
) -> Result<Vec<u8>, Unread> {
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let waits = headers.contains_key(header::EXPECT);
    if announced.is_some_and(|size| size > limit) {
        // One that waits for a word before it sends gets this one.
        if !waits {
            drain(body).await;
        }
        return Err(Unread::TooLarge(announced));
    }
    let mut bytes = Vec::new();
    loop {
        let next = tokio::time::timeout(patience, body.frame()).await;
        let Some(frame) = next.map_err(|_| Unread::Broken)? else {
            return Ok(bytes);
        };
        let frame = frame.map_err(|_| Unread::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if (bytes.len() + data.len()) as u64 > limit {
            drain(body).await;
            return Err(Unread::TooLarge(None));
        }
        bytes.extend_from_slice(&data);
    }
}

async fn drain(mut body: Body) {
    let mut next = async || tokio::time::timeout(PAUSE, body.frame()).await;
    let reading = async { while let Ok(Some(Ok(_))) = next().await {} };
    // One that goes on for longer finds the connection closed.
    let _ = tokio::time::timeout(DRAIN, reading).await;
}

/// The error of a body that did not arrive whole.
pub(super) fn broken() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "body_unreadable",
        "the body did not arrive whole",
        "send it again; nothing was changed",
    )
}

/// A body of at most [`BODY_MAX`] bytes: what calls that take no component take.
pub(super) async fn read_small(
    headers: &HeaderMap,
    body: Body,
    lab: &Lab,
) -> Result<Vec<u8>, ApiError> {
    read_whole(headers, body, BODY_MAX as u64, lab.client_timeout)
        .await
        .map_err(|unread| match unread {
            Unread::Broken => broken(),
            Unread::TooLarge(_) => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is too large: {BODY_MAX} bytes are the most"),
                "send a smaller one; nothing was changed",
            ),
        })
}

/// A JSON object.
pub(super) struct JsonObject(pub(super) Map<String, Value>);

impl FromRequest<Arc<Lab>> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, lab: &Arc<Lab>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        parse(&read_small(&parts.headers, body, lab).await?).map(JsonObject)
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let malformed = |message: String| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
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
    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Refuses what is left: a misspelt member must not be passed over in silence.
    pub(super) fn finish(self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_field",
                format!("{:?} means nothing here", shorten(name)),
                format!("this call takes: {}", known.join(", ")),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_and_nothing_are_taken() {
        for (body, fits) in [
            ("", true),
            (" \n", true),
            ("{}", true),
            ("[]", false),
            ("1", false),
            ("{", false),
            ("\u{feff}{}", false),
        ] {
            assert_eq!(parse(body.as_bytes()).is_ok(), fits, "{body:?}");
        }
    }
}
