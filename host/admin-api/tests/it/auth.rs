//! Access to the admin API: the token, and pages of other origins.

use axum::http::Method;
use serde_json::json;
use test_support::TestHost;
use test_support::components::LAB;

const TOKEN: &str = "correct-horse-battery";

#[tokio::test]
async fn with_a_token_the_admin_api_requires_it_and_the_service_does_not() {
    let host = TestHost::with(&LAB).admin_token(TOKEN).start().await;
    let admin = [
        (Method::GET, "/admin/leaks/status"),
        (Method::POST, "/admin/leaks/cache"),
        (Method::POST, "/admin/leaks/clear"),
        (Method::POST, "/admin/gc"),
        (Method::POST, "/admin/reset"),
        (Method::GET, "/admin/memory"),
        (Method::GET, "/admin/plugins"),
    ];
    let wrong = [
        None,
        Some("Bearer wrong".to_owned()),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Bearer {}", &TOKEN[..TOKEN.len() - 1])),
        Some(TOKEN.to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some("Bearer ".to_owned()),
    ];
    for (method, path) in admin {
        for authorization in &wrong {
            let mut request = host
                .request(method.clone(), path)
                .body(json!({"enabled": true}).to_string());
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let answer = request.send().await;
            let what = format!("{method} {path} with {authorization:?}");
            assert_eq!(answer.status, 401, "{what}: {}", answer.text);
            assert_eq!(answer.error_code(&what), "unauthorized");
            assert!(!answer.text.contains(TOKEN), "the answer has the token");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
        }
    }
    let status = host
        .request(Method::GET, "/admin/leaks/status")
        .header("authorization", &format!("Bearer {TOKEN}"))
        .send()
        .await
        .ok("the right token");
    assert_eq!(status["leaks"]["cache"]["enabled"], json!(false));
    for open in ["/api/data", "/health", "/metrics"] {
        let answer = host.request(Method::GET, open).send().await;
        assert_eq!(answer.status, 200, "{open}");
    }
}

#[tokio::test]
async fn an_empty_token_counts_as_none() {
    let host = TestHost::with(&[]).admin_token("").start().await;
    host.get("/admin/leaks/status").await;
}

/// A page of another origin, open in a learner's browser, must not switch leaks.
#[tokio::test]
async fn a_page_of_another_origin_can_neither_read_nor_change() {
    let host = TestHost::with(&LAB).start().await;
    for (method, path) in [
        (Method::OPTIONS, "/admin/leaks/cache"),
        (Method::GET, "/admin/leaks/status"),
        (Method::GET, "/api/data"),
    ] {
        let answer = host
            .request(method.clone(), path)
            .header("origin", "http://elsewhere.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type")
            .send()
            .await;
        let mut granted = answer.headers.keys().map(|name| name.as_str());
        let granted = granted.find(|name| name.starts_with("access-control-allow"));
        assert_eq!(granted, None, "{method} {path}");
    }
    // A form of that page can send this without a preflight.
    let form = |origin: &str| {
        host.request(Method::POST, "/admin/leaks/cache")
            .header("origin", origin)
            .header("content-type", "text/plain")
            .body(r#"{"enabled": true}"#)
            .send()
    };
    let refused = form("http://elsewhere.example").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.error_code("form"), "foreign_origin");
    assert_eq!(host.leak("cache").await["enabled"], false);
    let own = form("http://lab").await;
    assert_eq!(own.status, 200, "the console's origin");
    assert_eq!(host.leak("cache").await["enabled"], true);
}
