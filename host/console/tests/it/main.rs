//! The console's routes, called in this process without a socket. The page itself is tested in a
//! browser by `cargo xtask test-console`.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use axum::http::Method;
use test_support::{TestHost, bad_calls};

/// See [`bad_calls::check`] for the form of a line.
const BAD_CALLS: &str = r##"
GET /console/nope => 404 not_found: /docs
GET /console/%FF => 404 not_found
GET /console/pictures/nope => 404 unknown_picture
GET /console/events?window=7m => 422 invalid_value: window, 1m, 5m
GET /console/events?color=red => 422 invalid_value
POST / => 405 method_not_allowed: GET
POST /console/pictures?baseline=nope => 404 unknown_baseline: nope
POST /console/pictures?plugin=nope => 404 unknown_plugin: nope
"##;

async fn host() -> TestHost {
    TestHost::with(&["cache"])
        .start_with_page(console::routes)
        .await
}

#[tokio::test]
async fn each_bad_call_has_its_status_and_code() {
    bad_calls::check(&host().await, BAD_CALLS).await;
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_access() {
    let host = host().await;
    for (method, status) in [(Method::GET, 200), (Method::OPTIONS, 405)] {
        let answer = host
            .request(method.clone(), "/")
            .header("origin", "http://elsewhere.example")
            .header("access-control-request-method", "POST")
            .send()
            .await;
        assert_eq!(answer.status, status, "{method}");
        let mut granted = answer.headers.keys().map(|name| name.as_str());
        let granted = granted.find(|name| name.starts_with("access-control-allow"));
        assert_eq!(granted, None, "{method}");
    }
    let order = host
        .request(Method::POST, "/console/pictures")
        .header("origin", "http://elsewhere.example")
        .send()
        .await;
    assert_eq!(order.error_code("order"), "foreign_origin");
}
