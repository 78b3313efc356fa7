//! Access to the admin API: the token, and pages of other origins.

use axum::http::Method;
use serde_json::json;
use test_support::components::LAB;
use test_support::{Answer, TestHost};

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
    let own = form("http://localhost").await;
    assert_eq!(own.status, 200, "the console's origin");
    assert_eq!(host.leak("cache").await["enabled"], true);
}

/// A call of the admin API, under this name.
async fn call(
    host: &TestHost,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Answer {
    let mut request = host.request(method, path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await
}

/// A page whose own name points to this machine must not reach the admin API under that name.
#[tokio::test]
async fn the_admin_api_answers_only_under_known_names() {
    let host = TestHost::with(&LAB).allowed_host("leak-lab").start().await;
    for (name, known) in [
        ("localhost:8080", true),
        ("127.0.0.1:8080", true),
        ("[::1]:8080", true),
        ("leak-lab:8000", true),
        ("evil.example", false),
        ("evil.example:8080", false),
        ("leak-lab.evil.example", false),
    ] {
        for (method, path) in [
            (Method::GET, "/admin/leaks/status"),
            (Method::GET, "/admin/memory/diff"),
            (Method::HEAD, "/admin/memory"),
            (Method::GET, "/debug/pprof/heap"),
            (Method::GET, "/debug/pprof/allocs"),
            (Method::POST, "/admin/leaks/cache"),
        ] {
            let request = host.request(method.clone(), path).header("host", name);
            let answer = request.body(r#"{"enabled": true}"#).send().await;
            let what = format!("{method} {path} under {name}");
            assert_eq!(answer.status, if known { 200 } else { 421 }, "{what}");
            if !known && method != Method::HEAD {
                assert_eq!(answer.error_code(&what), "unknown_host");
                assert!(answer.text.contains("--allowed-host"), "{}", answer.text);
            }
        }
    }
    for path in ["/api/data", "/health", "/health/ready", "/metrics"] {
        let answer = call(&host, Method::GET, path, &[("host", "evil.example")]).await;
        assert_eq!(answer.status, 200, "{path} is the service's own");
    }
}

#[tokio::test]
async fn an_unknown_name_is_refused_with_the_token_too() {
    let host = TestHost::with(&[]).admin_token(TOKEN).start().await;
    let bearer = format!("Bearer {TOKEN}");
    for (name, status) in [("evil.example", 421), ("localhost", 200)] {
        let headers = [("host", name), ("authorization", &bearer)];
        let answer = call(&host, Method::GET, "/admin/leaks/status", &headers).await;
        assert_eq!(answer.status, status, "{name}");
    }
}

#[tokio::test]
async fn the_authority_of_http_2_counts_as_the_name() {
    let host = TestHost::with(&[]).start().await;
    for (target, status) in [
        ("http://localhost:8080/admin/leaks/status", 200),
        ("http://evil.example/admin/leaks/status", 421),
        ("/admin/leaks/status", 421),
        ("/health", 200),
        ("http://evil.example/health", 200),
    ] {
        let answer = host.request(Method::GET, target).http_2().send().await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_a_browser_sends_for_another_site_changes_nothing() {
    let host = TestHost::with(&LAB).start().await;
    let calls = [
        (Method::POST, "/admin/leaks/cache"),
        (Method::POST, "/admin/leaks/clear"),
        (Method::POST, "/admin/leaks/cache/reset"),
        (Method::POST, "/admin/reset"),
        (Method::POST, "/admin/gc"),
        (Method::PUT, "/admin/memory/baselines/a"),
        (Method::DELETE, "/admin/memory/baselines/a"),
        (Method::PUT, "/admin/plugins/cache"),
        (Method::DELETE, "/admin/plugins/cache"),
        (Method::POST, "/admin/plugins/cache/reload"),
        (Method::POST, "/admin/plugins/check"),
        (Method::GET, "/admin/memory/diff"),
        (Method::HEAD, "/admin/memory/diff"),
    ];
    let before = host.leak_states().await;
    for site in ["cross-site", "same-site"] {
        for (method, path) in &calls {
            let headers = [("sec-fetch-site", site)];
            let answer = call(&host, method.clone(), path, &headers).await;
            assert_eq!(answer.status, 403, "{method} {path} from {site}");
        }
    }
    assert_eq!(host.leak_states().await, before);
    let set = host.get("/admin/memory/diff").await;
    assert_eq!(set["status"], "baseline_set", "no call has set it");
    for site in ["same-origin", "none"] {
        let headers = [("sec-fetch-site", site)];
        let answer = call(&host, Method::POST, "/admin/gc", &headers).await;
        assert_eq!(answer.status, 200, "{site}");
    }
}

#[tokio::test]
async fn another_site_is_refused_with_the_token_too() {
    let host = TestHost::with(&[]).admin_token(TOKEN).start().await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("sec-fetch-site", "cross-site"),
    ];
    let answer = call(&host, Method::POST, "/admin/gc", &headers).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
}

#[tokio::test]
async fn only_a_get_of_the_diff_that_a_user_asks_for_moves_the_baseline() {
    let host = TestHost::with(&LAB).start().await;
    let diff = "/admin/memory/diff";
    let ways = [
        (Method::HEAD, &[][..], 200),
        (Method::GET, &[("sec-purpose", "prefetch;prerender")], 403),
        (Method::GET, &[("purpose", "prefetch")], 403),
        (Method::GET, &[("sec-fetch-site", "cross-site")], 403),
        (Method::GET, &[("origin", "http://elsewhere.example")], 403),
    ];
    for (method, headers, status) in &ways {
        let answer = call(&host, method.clone(), diff, headers).await;
        assert_eq!(
            answer.status, *status,
            "{method} {headers:?}: {}",
            answer.text
        );
    }
    assert_eq!(host.get(diff).await["status"], "baseline_set");
    host.traffic(3).await;
    for (method, headers, status) in &ways {
        let answer = call(&host, method.clone(), diff, headers).await;
        assert_eq!(
            answer.status, *status,
            "{method} {headers:?}: {}",
            answer.text
        );
    }
    let computed = host.get(diff).await;
    assert_eq!(
        computed["requests_since_baseline"], 3,
        "the baseline stayed"
    );
    let other = [("sec-fetch-site", "cross-site"), ("purpose", "prefetch")];
    let since = call(&host, Method::GET, "/admin/memory/diff?since=1m", &other).await;
    assert_eq!(since.status, 200, "it moves nothing: {}", since.text);
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let host = TestHost::with(&[]).start().await;
    for path in ["/health", "/api/data", "/admin/leaks/status", "/nope"] {
        for invalid in ["a b", "localhost:x", "user@localhost", "[::1", "a/b"] {
            let answer = call(&host, Method::GET, path, &[("host", invalid)]).await;
            assert_eq!(answer.status, 400, "{path} with {invalid:?}");
            assert_eq!(answer.error_code(invalid), "invalid_host");
        }
    }
}
