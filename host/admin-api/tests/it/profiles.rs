//! The profiles at `/debug/pprof/`. What is in them is tested with a decoder elsewhere.

use std::time::{Duration, Instant};

use axum::http::Method;

use crate::heap::cache_payload_line;
use test_support::TestHost;

async fn profile(host: &TestHost, path: &str) -> test_support::Answer {
    let path = format!("/debug/pprof/{path}");
    let answer = host.request(Method::GET, &path).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

#[tokio::test]
async fn debug_answers_the_call_stacks_as_text() {
    let host = TestHost::with(&["cache"]).start().await;
    host.enable("cache").await;
    host.traffic(20).await;
    for name in ["heap", "allocs"] {
        let answer = profile(&host, &format!("{name}?debug=1&gc=1&plugin=cache")).await;
        assert_eq!(answer.content_type(), "text/plain; charset=utf-8");
        let first = answer.text.lines().next().unwrap();
        assert!(
            first.starts_with("heap profile: ") && first.ends_with("@ heap/2"),
            "{first}"
        );
        let line = format!("\t{}\n", cache_payload_line());
        assert!(answer.text.contains(&line), "{line} in {}", answer.text);
    }
}

#[tokio::test]
async fn seconds_waits_for_the_window() {
    let host = TestHost::with(&["cache"]).start().await;
    let began = Instant::now();
    let answer = profile(&host, "heap?seconds=1").await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    let file = answer.header("content-disposition").to_owned();
    assert_eq!(file, "attachment; filename=\"heap-delta.pb.gz\"");
    let now = profile(&host, "allocs?debug=0").await;
    let file = now.header("content-disposition").to_owned();
    assert_eq!(file, "attachment; filename=\"allocs.pb.gz\"");
}

#[tokio::test]
async fn addresses_in_the_text_have_the_names_of_their_own_plugin() {
    let host = TestHost::with(&["cache", "history", "listeners"])
        .start()
        .await;
    for leak in ["cache", "history", "listeners"] {
        host.enable(leak).await;
    }
    host.traffic(20).await;
    for leak in ["cache", "history", "listeners"] {
        let text = profile(&host, &format!("heap?debug=1&plugin={leak}"))
            .await
            .text;
        // The row of the user's own function: `#`, the address, the function, file and line.
        let source = format!("\tplugins/{leak}/src/lib.rs:");
        let row = text.lines().find(|line| line.contains(&source)).unwrap();
        let address = row.split('\t').nth(1).unwrap();
        let names = host
            .request(Method::POST, "/debug/pprof/symbol")
            .body(address.to_owned())
            .send()
            .await;
        assert_eq!(names.status, 200, "{}", names.text);
        let file = format!("plugins/{leak}/src/lib.rs");
        assert!(names.text.contains(&file), "{row}: {}", names.text);
    }
}
