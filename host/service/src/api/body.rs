//! Bodies as the lab's commands send them: JSON whatever the `Content-Type`, and nothing at all for `{}`.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value};

use super::BODY_MAX;
use super::error::{ApiError, shorten};

/// A JSON object.
pub(super) struct JsonObject(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > BODY_MAX as u64) {
            return Err(too_large());
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(too_large_or_broken)?;
        parse(&bytes).map(JsonObject)
    }
}

/// The error of a body over [`BODY_MAX`]; a length that is announced is refused before it arrives.
fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is too large: {BODY_MAX} bytes are the most"),
        "send a smaller one; nothing was changed",
    )
}

/// The error of a body that could not be read.
pub(super) fn too_large_or_broken(rejection: BytesRejection) -> ApiError {
    let status = rejection.into_response().status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        too_large()
    } else {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "body_unreadable",
            "the body did not arrive whole",
            "send it again",
        )
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
