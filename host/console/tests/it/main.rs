//! The console's routes, called in this process without a socket. The page itself is tested in a
//! browser by `cargo xtask test-console`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use axum::http::Method;
use serde_json::{Value, json};
use test_support::components::LAB;
use test_support::{Answer, TestHost, TestHostBuilder, bad_calls};

const TOKEN: &str = "correct-horse-battery";

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

async fn start(builder: TestHostBuilder) -> TestHost {
    builder.start_with_page(console::routes).await
}

async fn get(host: &TestHost, path: &str) -> Answer {
    let answer = host.request(Method::GET, path).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

/// Orders a flame graph of the cache and returns its address.
async fn order_flame_graph(host: &TestHost) -> String {
    let order = host
        .request(Method::POST, "/console/pictures?plugin=cache")
        .header("authorization", &format!("Bearer {TOKEN}"));
    let ordered = order.send().await.ok("order");
    ordered["path"].as_str().unwrap().to_owned()
}

/// The console's files that the page names, and those that its scripts import.
async fn files(host: &TestHost, page: &str) -> Vec<String> {
    let quoted = |text: &str, before: &str| -> Vec<String> {
        text.split(before)
            .skip(1)
            .filter_map(|rest| rest.split('"').next().map(str::to_owned))
            .collect()
    };
    let mut files: Vec<String> = [
        quoted(page, "href=\"/console/"),
        quoted(page, "src=\"/console/"),
    ]
    .concat();
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        let text = get(host, &format!("/console/{file}")).await.text;
        for import in quoted(&text, "from \"./") {
            if !files.contains(&import) {
                files.push(import);
            }
        }
    }
    files
}

#[tokio::test]
async fn each_bad_call_has_its_status_and_code() {
    let host = start(TestHost::with(&["cache"])).await;
    bad_calls::check(&host, BAD_CALLS).await;
}

#[tokio::test]
async fn the_page_and_its_files_load_nothing_from_another_host() {
    let host = start(TestHost::with(&LAB)).await;
    let page = get(&host, "/").await;
    assert!(page.content_type().starts_with("text/html"), "{page:?}");
    let files = files(&host, &page.text).await;
    assert!(files.len() > 10, "{files:?}");
    let paths = files.iter().map(|file| format!("/console/{file}"));
    for path in std::iter::once("/".to_owned()).chain(paths) {
        let answer = get(&host, &path).await;
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        // Two addresses are only names: the SVG namespace, and the host in the exercises' commands.
        let text = answer
            .text
            .replace("http://www.w3.org/2000/svg", "")
            .replace("http://localhost:8080", "");
        for external in ["http://", "https://", "ws://", "@import", "url("] {
            assert!(!text.contains(external), "{path} has {external}");
        }
    }
}

#[tokio::test]
async fn the_page_has_the_exercises_of_the_readme() {
    let host = start(TestHost::with(&[])).await;
    let page = get(&host, "/").await.text;
    for title in [
        "1. Establish baseline memory usage",
        "4. Identify the source of the leak",
        "6. Compare different leak types",
    ] {
        assert!(page.contains(title), "{title}");
    }
}

#[tokio::test]
async fn the_page_needs_no_token_but_its_data_does() {
    let host = start(TestHost::with(&LAB).admin_token(TOKEN)).await;
    get(&host, "/").await;
    get(&host, "/console/main.js").await;
    for (method, path) in [
        (Method::GET, "/console/events"),
        (Method::POST, "/console/pictures"),
        (
            Method::GET,
            "/admin/memory/source?plugin=cache&location=a.rs:1",
        ),
    ] {
        let answer = host.request(method, path).send().await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text);
        assert_eq!(answer.error_code(path), "unauthorized");
    }
    // A frame cannot send the token. It fetches the flame graph with the ticket in the address.
    let path = order_flame_graph(&host).await;
    get(&host, &path).await;
}

#[tokio::test]
async fn the_policy_of_a_flame_graph_allows_its_own_script_only() {
    let host = start(TestHost::with(&LAB)).await;
    host.enable("cache").await;
    host.traffic(20).await;
    let path = order_flame_graph(&host).await;
    let svg = get(&host, &path).await;
    assert!(svg.content_type().starts_with("image/svg+xml"), "{svg:?}");
    assert!(svg.text.contains("on_request"), "the plugin's function");
    let policy = svg.header("content-security-policy");
    for part in ["default-src 'none'", "'sha256-", "frame-ancestors 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe-inline") && !policy.contains("connect-src"),
        "{policy}"
    );
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_access() {
    let host = start(TestHost::with(&["cache"])).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_update_during_a_mystery_hides_what_the_plugins_are() {
    let roster = [
        "listeners",
        "metric-labels",
        "reference-cycle",
        "sessions",
        "unbounded-queue",
        "warm-up",
        "sawtooth",
    ];
    let host = start(TestHost::with(&roster)).await;
    for (difficulty, shows_plugins) in [(2, true), (4, false)] {
        let order = json!({"seed": 1, "difficulty": difficulty, "duration": "10s"});
        host.post("/admin/mystery", order).await;
        // The charts begin with the second sample.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let events = host.request(Method::GET, "/console/events");
        let update = events.send_and_read_first().await;
        let data = update.split_once("data: ").unwrap().1;
        let update: Value = serde_json::from_str(data.trim()).unwrap();
        for hidden in ["leaks", "outlooks"] {
            assert_eq!(update[hidden], json!({}), "{update}");
        }
        assert_eq!(update["events"], json!([]));
        assert_eq!(update["verdict"]["kind"], "none");
        let charts = update["charts"]["plugins"].as_object().unwrap();
        assert_eq!(charts.contains_key("plugin-a"), shows_plugins, "{update}");
        assert_eq!(update["mystery"]["plugins"].is_array(), shows_plugins);
        let mut shown = update.clone();
        // The steps of the exercises name their plugins, whatever plays.
        shown.as_object_mut().unwrap().remove("steps");
        let text = shown.to_string();
        for name in roster {
            assert!(!text.contains(name), "{name} in {text}");
        }
        let flame = host.request(Method::POST, "/console/pictures?plugin=plugin-a");
        assert_eq!(flame.send().await.error_code("flame"), "mystery_running");
        let ended = host.request(Method::DELETE, "/admin/mystery").send().await;
        ended.ok("end");
    }
}
