//! Bad calls: each has the status and the code that a client can act on, and changes nothing.

use axum::body::{Body, Bytes};
use axum::http::Method;
use serde_json::json;
use test_support::components::LAB;
use test_support::{TestHost, bad_calls};

/// See [`bad_calls::check`] for the form of a line.
const TABLE: &str = r##"
# Unknown names.
POST /admin/leaks/nope {"enabled":true} => 404 unknown_leak: nope, cache
POST /admin/leaks/nope/reset => 404 unknown_leak: nope
POST /admin/leaks/clear {"leak_type":"nope"} => 404 unknown_leak: nope, cache
POST /admin/leaks/clear {"leak_type":""} => 404 unknown_leak: cache
POST /admin/exercises/7/verify => 404 unknown_exercise: 7, GET /admin/exercises
POST /admin/exercises/one/verify => 404 unknown_exercise: one
POST /admin/exercises/1/verify {"force":true} => 422 unknown_field: force
GET /admin/exercises/1/verify => 405 method_not_allowed: POST
GET /admin/plugins/nope => 404 unknown_plugin: nope
POST /admin/leaks/%FF {"enabled":true} => 404 unknown_leak
GET /nope => 404 not_found: /nope
GET /admin/nope => 404 not_found: /admin/nope
GET /nope/ => 404 not_found: /docs
GET /admin/memory/source => 422 invalid_query: location
GET /admin/memory/source?plugin=nope&location=a.rs:1 => 404 unknown_plugin: nope
GET /admin/memory/source?plugin=cache&location=nonsense => 422 invalid_value: location
GET /admin/memory/source?plugin=cache&location=a.rs:1&context=201 => 422 invalid_value: context
GET /admin/memory/source?plugin=cache&location=/etc/passwd:1 => 404 unknown_source
GET /admin/memory/source?plugin=cache&location=../../etc/passwd:1 => 404 unknown_source
# Scenarios.
POST /admin/scenario => 422 invalid_scenario: map of fields, docs/scenarios.md
POST /admin/scenario {} => 422 invalid_scenario: line 1, name, required
POST /admin/scenario {"name":"x","steps":[{"leak":"cache"},{"leak":"nope"}]} => 422 invalid_scenario: steps[1].leak, cache
POST /admin/scenario {"name":"x","steps":[{"leak":"cache","settings":{"max_mb":-1}}]} => 422 invalid_scenario: steps[0].settings.max_mb
DELETE /admin/scenario => 404 no_scenario: POST /admin/scenario
# Methods that a path does not have.
DELETE /admin/leaks/cache => 405 method_not_allowed: POST
DELETE /admin/leaks/status => 405 method_not_allowed: GET
GET /admin/leaks/clear => 405 method_not_allowed: POST
PUT /admin/gc => 405 method_not_allowed: POST
GET /admin/reset => 405 method_not_allowed: POST
POST /admin/memory => 405 method_not_allowed: GET
POST /api/data => 405 method_not_allowed: GET
POST /health => 405 method_not_allowed: GET
DELETE /metrics => 405 method_not_allowed: GET
# Bodies that are not JSON.
POST /admin/leaks/cache {"enabled": tru => 400 malformed_json
POST /admin/leaks/cache enabled=true => 400 malformed_json
POST /admin/leaks/cache {"enabled":true} trailing => 400 malformed_json
POST /admin/leaks/cache {"probability":NaN} => 400 malformed_json
POST /admin/leaks/clear {'leak_type':'cache'} => 400 malformed_json
# JSON that is not an object, or lacks a field.
POST /admin/leaks/cache => 422 missing_field: enabled
POST /admin/leaks/cache {} => 422 missing_field: enabled
POST /admin/leaks/cache [true] => 400 malformed_json: object
POST /admin/leaks/cache true => 400 malformed_json: object
POST /admin/leaks/cache {"enabled":"yes"} => 422 invalid_value: enabled, true or false
POST /admin/leaks/cache {"enabled":1} => 422 invalid_value: enabled, true or false
POST /admin/leaks/cache {"enabled":null} => 422 invalid_value: enabled, true or false
POST /admin/leaks/clear {"leak_type":7} => 422 invalid_value: leak_type
POST /admin/leaks/clear [] => 400 malformed_json: object
# If a misspelt field were ignored, this call would clear every leak.
POST /admin/leaks/clear {"leaktype":"cache"} => 422 unknown_field: leaktype, leak_type
POST /admin/gc {"leak_type":"cache"} => 422 unknown_field: leak_type
# Settings: names, types, ranges.
POST /admin/leaks/cache {"enabled":true,"colour":"red"} => 422 unknown_setting: colour, payload_bytes
POST /admin/leaks/cache {"max_entires":5} => 422 unknown_setting: max_entires, max_entries
POST /admin/leaks/cache {"payload_bytes":-1} => 422 invalid_value: payload_bytes, from, to
POST /admin/leaks/cache {"payload_bytes":1e18} => 422 invalid_value: payload_bytes, from, to
POST /admin/leaks/cache {"payload_bytes":99999999999999999999999} => 422 invalid_value: payload_bytes
POST /admin/leaks/cache {"payload_bytes":1.5} => 422 invalid_value: payload_bytes, whole number
POST /admin/leaks/cache {"payload_bytes":"big"} => 422 invalid_value: payload_bytes, whole number
POST /admin/leaks/cache {"payload_bytes":true} => 422 invalid_value: payload_bytes, whole number
POST /admin/leaks/cache {"payload_bytes":[1]} => 422 invalid_value: payload_bytes
POST /admin/leaks/cache {"probability":1.01} => 422 invalid_value: probability, 0, 1
POST /admin/leaks/cache {"probability":-0.1} => 422 invalid_value: probability, 0, 1
POST /admin/leaks/cache {"variant":"broken"} => 422 invalid_value: variant, leaky, fixed
POST /admin/leaks/cache {"variant":1} => 422 invalid_value: variant, leaky, fixed
POST /admin/leaks/cache {"max_mb":-1} => 422 invalid_value: max_mb
POST /admin/leaks/cache {"ttl_seconds":-5} => 422 invalid_value: ttl_seconds
POST /admin/leaks/cache {"duration_seconds":0.5} => 422 invalid_value: duration_seconds
POST /admin/leaks/cache {"repeat_seconds":60} => 422 invalid_value: repeat_seconds
# One invalid value among valid ones: no value is changed.
POST /admin/leaks/cache {"enabled":true,"payload_bytes":-1} => 422 invalid_value: payload_bytes
POST /admin/leaks/cache {"probability":0.5,"variant":"fixed","max_entries":0} => 422 invalid_value: max_entries
"##;

const CACHE: &str = "/admin/leaks/cache";
const CLEAR: &str = "/admin/leaks/clear";

/// A host in which every value that a failed call could change differs from its default.
async fn changed_host() -> TestHost {
    let host = TestHost::with(&LAB).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 2048});
    host.post("/admin/leaks/history", settings).await;
    host.traffic(3).await;
    host
}

#[tokio::test]
async fn each_bad_call_has_its_status_and_code_and_changes_nothing() {
    bad_calls::check(&changed_host().await, TABLE).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let host = changed_host().await;
    let before = host.leak_states().await;
    for call in [Method::POST, Method::GET] {
        let path = if call == Method::POST {
            CACHE
        } else {
            "/api/data"
        };
        let body = vec![b' '; (64 << 10) + 1];
        let answer = host.request(call, path).body(body).send().await;
        assert_eq!(answer.status, 413, "{path}: {}", answer.text);
        assert_eq!(answer.error_code(path), "body_too_large");
    }
    assert_eq!(host.leak_states().await, before);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let host = changed_host().await;
    let before = host.leak_states().await;
    let parts = [
        Ok(Bytes::from_static(br#"{"enabled": true"#)),
        Err(std::io::Error::other("the connection closed")),
    ];
    let body = Body::from_stream(futures_util::stream::iter(parts));
    let answer = host.request(Method::POST, CACHE).body(body).send().await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(answer.error_code(CACHE), "body_unreadable");
    assert_eq!(host.leak_states().await, before);
}

#[tokio::test]
async fn bytes_that_are_not_text_are_malformed_json() {
    let host = changed_host().await;
    let deep = "[".repeat(50_000).into_bytes();
    for body in [
        b"\xff\xfe{}".to_vec(),
        b"{\"enabled\":\"\xc3\"}".to_vec(),
        b"\0".to_vec(),
        deep,
    ] {
        let answer = host.request(Method::POST, CACHE).body(body).send().await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.error_code("not text"), "malformed_json");
    }
    host.data().await;
}

#[tokio::test]
async fn a_json_body_is_accepted_whatever_its_content_type() {
    let host = TestHost::with(&LAB).start().await;
    let types = [
        None,
        Some("application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("text/plain; charset=utf-8"),
        Some("application/octet-stream"),
        Some("nonsense"),
    ];
    for (round, content_type) in types.into_iter().enumerate() {
        let enabled = round % 2 == 0;
        let mut request = host
            .request(Method::POST, CACHE)
            .body(json!({"enabled": enabled}).to_string());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        request.send().await.ok(CACHE);
        let leak = host.leak("cache").await;
        assert_eq!(leak["enabled"], json!(enabled), "{content_type:?}");
    }
}

#[tokio::test]
async fn an_empty_body_counts_as_an_empty_object() {
    let host = TestHost::with(&LAB).start().await;
    host.enable("cache").await;
    host.traffic(4).await;
    for body in [None, Some(""), Some("  \n"), Some("{}")] {
        for path in [
            CLEAR,
            "/admin/gc",
            "/admin/leaks/cache/reset",
            "/admin/reset",
        ] {
            let mut request = host.request(Method::POST, path);
            if let Some(body) = body {
                request = request.body(body);
            }
            request.send().await.ok(&format!("{path} {body:?}"));
        }
    }
    host.enable("cache").await;
    host.traffic(4).await;
    let cleared = host.request(Method::POST, CLEAR).send().await.json();
    assert_eq!(
        (&cleared["cleared"], &cleared["total_removed"]),
        (&json!("all"), &json!(4))
    );
}

#[tokio::test]
async fn a_failure_that_a_request_asks_for_has_its_status() {
    let host = TestHost::with(&LAB).start().await;
    for status in [500, 502, 503, 504] {
        let path = format!("/api/data?fail={status}");
        let answer = host.request(Method::GET, &path).send().await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.error_code(&path), "asked_to_fail");
    }
    for refused in ["404", "200", "599", "yes", ""] {
        let path = format!("/api/data?fail={refused}");
        let answer = host.request(Method::GET, &path).send().await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert_eq!(answer.error_code(&path), "invalid_value");
    }
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_named_and_changes_nothing() {
    let host = TestHost::with(&LAB).start().await;
    let before = host.leak_states().await;
    for (path, body, name) in [
        (
            "/admin/leaks/cache",
            r#"{"enabled": false, "enabled": true}"#,
            "enabled",
        ),
        (
            "/admin/leaks/clear",
            r#"{"leak_type": "all", "leak_type": "cache"}"#,
            "leak_type",
        ),
    ] {
        let request = host.request(Method::POST, path).body(body);
        let answer = request.send().await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.error_code(body), "malformed_json");
        assert!(answer.text.contains(name), "{body}: {}", answer.text);
    }
    assert_eq!(host.leak_states().await, before);
    let marked = "\u{feff}{\"enabled\": true}";
    let request = host
        .request(Method::POST, "/admin/leaks/cache")
        .body(marked);
    request.send().await.ok("a byte order mark");
    assert_eq!(host.leak("cache").await["enabled"], true);
}
