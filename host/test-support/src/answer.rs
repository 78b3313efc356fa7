//! A request to a router, and its answer.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, Version, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// A request that has not been sent yet.
pub struct TestRequest {
    router: Router,
    request: Request<Body>,
}

impl TestRequest {
    pub(crate) fn new(router: Router, method: Method, path: &str) -> Self {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .body(Body::empty())
            .unwrap();
        TestRequest { router, request }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = value.parse().unwrap();
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Makes it a request of HTTP/2, whose target has the host's name and which has no `Host`
    /// header.
    pub fn http_2(mut self) -> Self {
        *self.request.version_mut() = Version::HTTP_2;
        self.request.headers_mut().remove(header::HOST);
        self
    }

    /// Sets the body, without a `Content-Type`.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    /// Sets a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sends the request and returns the first part of an answer that has no end.
    pub async fn send_and_read_first(self) -> String {
        let response = self.router.oneshot(self.request).await.unwrap();
        let mut body = response.into_body();
        let frame = body.frame().await.unwrap().unwrap();
        String::from_utf8_lossy(frame.data_ref().unwrap()).into_owned()
    }

    /// Sends the request and collects the whole answer.
    pub async fn send(self) -> Answer {
        let response = self.router.oneshot(self.request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Bytes that are not UTF-8 are replaced.
    pub text: String,
}

impl Answer {
    /// The value of `Content-Type`; empty without one.
    pub fn content_type(&self) -> &str {
        self.header("content-type")
    }

    /// The value of a header; empty without one.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert!(
            self.content_type().starts_with("application/json"),
            "{self:?}"
        );
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as JSON of an answer whose status must be 200. `what` names the call.
    #[track_caller]
    pub fn ok(&self, what: &str) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{what}: {}", self.text);
        self.json()
    }

    /// The code of an error, after a check that the error has the form that all errors have and
    /// names nothing that only the log should have.
    #[track_caller]
    pub fn error_code(&self, what: &str) -> String {
        let json = self.json();
        let error = &json["error"];
        for field in ["code", "message", "hint"] {
            let text = error[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{what}: no error.{field} in {json}");
        }
        for internal in ["backtrace", "wasmtime", "host/plugin-host"] {
            assert!(
                !self.text.contains(internal),
                "{what}: {internal} belongs in the log: {json}"
            );
        }
        error["code"].as_str().unwrap().to_owned()
    }
}
