//! What a mystery hides.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Method;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use test_support::TestHost;
use tokio::time::sleep;

use super::{begin, call, end, host, truth, wait_until};

/// The ids of the plugins that play, as they can appear in a text.
fn true_names(truth: &Value) -> Vec<String> {
    let players = truth["players"].as_array().unwrap().iter();
    let ids = players.map(|player| player["plugin"].as_str().unwrap());
    ids.flat_map(|id| [id.to_owned(), id.replace('-', "_")])
        .collect()
}

/// The calls of the API's description, with the alias and the true id of a player in their paths.
async fn all_calls(host: &TestHost, truth: &Value) -> Vec<(Method, String)> {
    let description = host.get("/openapi.json").await;
    let player = &truth["players"][0];
    let mut calls = Vec::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for name in [&player["alias"], &player["plugin"]] {
                let path = path.replace("{name}", name.as_str().unwrap());
                calls.push((method.clone(), path.replace("{number}", "2")));
            }
        }
    }
    for path in [
        "/admin/leaks/status?all=true",
        "/admin/memory?all=true",
        "/admin/memory/snapshot?all=true",
        "/admin/memory/snapshot?group_by=trace",
        "/debug/heap/",
        "/debug/heap/snapshot",
        "/debug/pprof/symbol",
        "/nowhere",
    ] {
        calls.push((Method::GET, path.to_owned()));
    }
    calls.dedup();
    // These start and end games, or are for the instructor.
    calls.retain(|(method, path)| {
        let of_game = [
            "/admin/mystery",
            "/admin/mystery/truth",
            "/admin/mystery/report",
        ];
        *method == Method::GET && path != of_game[1] && path != of_game[2]
            || !path.starts_with(of_game[0])
    });
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_has_a_true_name_at_a_level_that_hides_it() {
    let host = host().await;
    for difficulty in 1..=5 {
        begin(&host, 40 + u64::from(difficulty), difficulty).await;
        wait_until(&host, 6.0).await;
        let truth = truth(&host).await;
        let names = true_names(&truth);
        let (mut read, mut refused) = (0, 0);
        for (method, path) in all_calls(&host, &truth).await {
            // At level 1, source lines are shown, and their paths have names.
            let shows_lines = ["/admin/memory/", "/debug/", "/metrics"];
            if difficulty == 1 && shows_lines.iter().any(|start| path.starts_with(start)) {
                continue;
            }
            let answer = call(&host, method.clone(), &path, &json!({}), false).await;
            // A refusal can repeat the name that the client has sent.
            let asked = names.iter().filter(|name| !path.contains(*name));
            let found: Vec<_> = asked.filter(|name| answer.text.contains(*name)).collect();
            assert!(
                found.is_empty(),
                "level {difficulty}: {method} {path} has {found:?}: {}",
                answer.text
            );
            read += usize::from(answer.status.is_success());
            refused += usize::from(answer.text.contains("mystery_running"));
        }
        assert!(read > 10 && refused > 20, "{read} read, {refused} refused");
        end(&host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_what_the_level_shows() {
    let host = host().await;
    for (difficulty, has_plugins, has_lines) in
        [(1, true, true), (3, true, false), (4, false, false)]
    {
        begin(&host, 7, difficulty).await;
        wait_until(&host, 5.0).await;
        // The lines are those of the last sample.
        sleep(Duration::from_millis(1500)).await;
        for accept in ["text/plain", "application/openmetrics-text"] {
            let request = host.request(Method::GET, "/metrics");
            let page = request.header("accept", accept).send().await.text;
            let has = |text: &str| page.contains(text);
            assert_eq!(
                has("plugin=\"plugin-a\""),
                has_plugins,
                "{difficulty} {page}"
            );
            assert_eq!(has("plugin="), has_plugins, "{difficulty} {page}");
            assert_eq!(
                has("leak_site_live_bytes{"),
                has_lines,
                "{difficulty} {page}"
            );
            assert!(has("process_resident_memory_bytes "));
            assert!(has("http_requests_total{"));
            assert!(!has("leak_active") && !has("leak_retained_bytes"), "{page}");
        }
        end(&host).await;
        let page = host.request(Method::GET, "/metrics").send().await.text;
        assert!(page.contains("leak_active{plugin=\"cache\"} 0"), "{page}");
        assert!(!page.contains("plugin-a"), "{page}");
    }
}

/// A body whose second part comes after this many milliseconds.
fn slow_body(first: &'static [u8], rest: &'static [u8], milliseconds: u64) -> Body {
    let first = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(first))]);
    let rest = futures_util::stream::once(async move {
        sleep(Duration::from_millis(milliseconds)).await;
        Ok(Bytes::from_static(rest))
    });
    Body::from_stream(first.chain(rest))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_body_is_complete_in_a_game_is_refused() {
    let host = host().await;
    for (path, first, rest) in [
        (
            "/admin/leaks/plugin-a",
            &b"{\"enabled\""[..],
            &b": false}"[..],
        ),
        ("/admin/leaks/plugin-a/reset", b"{", b"}"),
        ("/admin/leaks/clear", b"{", b"}"),
        ("/admin/reset", b"{", b"}"),
        ("/admin/gc", b"{", b"}"),
        (
            "/admin/scenario",
            b"{\"name\": \"x\",",
            b"\"steps\": [{\"leak\": \"plugin-a\"}]}",
        ),
    ] {
        let body = slow_body(first, rest, 2500);
        let stalled = host.request(Method::POST, path).body(body).send();
        let stalled = tokio::spawn(stalled);
        sleep(Duration::from_millis(200)).await;
        begin(&host, 9, 4).await;
        let answer = stalled.await.unwrap();
        assert_eq!(answer.error_code(path), "mystery_running", "{path}");
        end(&host).await;
    }
}
