//! An answer of the host, and assertions about its JSON.

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// Sends the request and reads the whole answer.
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the host answers");
        let headers = response.headers().clone();
        let content_type = headers
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        Self {
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            headers: headers.clone(),
            text: response.text().await.expect("the answer is complete"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        assert!(
            self.content_type.starts_with("application/json"),
            "{self:?}"
        );
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer that must be 200.
    pub(crate) fn ok(&self, what: &str) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{what}: {}", self.text);
        self.json()
    }

    /// The code of an error. Asserts that the error has the form that every error has.
    pub(crate) fn error_code(&self, what: &str) -> String {
        let json = self.json();
        let error = &json["error"];
        for field in ["code", "message", "hint"] {
            let text = error[field].as_str().unwrap_or_default();
            assert!(
                !text.is_empty(),
                "{what}: error.{field} is missing in {json}"
            );
        }
        for internal in ["backtrace", "wasmtime", "host/plugin-host"] {
            assert!(
                !self.text.contains(internal),
                "{what}: `{internal}` belongs in the log only: {json}"
            );
        }
        error["code"].as_str().unwrap().to_owned()
    }
}

/// The entries of `leaks_failed` in an answer of `/api/data`.
pub(crate) fn failures(data: &Value) -> &[Value] {
    data["leaks_failed"].as_array().map_or(&[], Vec::as_slice)
}

/// The number at a JSON pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {pointer} in {value}"))
}

/// Asserts that `actual` differs from `expected` by at most `tolerance`, a share of `expected`.
#[track_caller]
pub(crate) fn assert_close(what: &str, actual: f64, expected: f64, tolerance: f64) {
    assert!(
        (actual - expected).abs() <= expected.abs() * tolerance,
        "{what}: {actual} is not within {:.0} % of {expected}",
        tolerance * 100.0
    );
}
