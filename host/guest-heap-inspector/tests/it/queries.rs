//! Parameters, paths and methods.

use axum::body::Body;
use axum::http::Request;

use crate::test_guests::{FakeGuests, Mounted};

fn mounted() -> Mounted {
    Mounted::of(FakeGuests::with(&[("cart", &[("a.rs:1", 10)])]))
}

#[tokio::test]
async fn an_invalid_value_is_refused_with_the_name_and_the_range() {
    let mounted = mounted();
    for (path, name, range) in [
        ("/debug/heap/snapshot?limit=0", "limit", "1 to 1000"),
        ("/debug/heap/snapshot?limit=1001", "limit", "1 to 1000"),
        ("/debug/heap/snapshot?limit=", "limit", "1 to 1000"),
        (
            "/debug/heap/snapshot?group_by=colour",
            "group_by",
            "line, function, file or trace",
        ),
        ("/debug/heap/diff?since=16m", "since", "1s to 15m"),
        ("/debug/heap/diff?since=5", "since", "1s to 15m"),
        ("/debug/heap/diff?until=0s", "until", "1s to 15m"),
        (
            "/debug/heap/diff?since=1m&until=1m",
            "until",
            "less than since",
        ),
        (
            "/debug/heap/diff?until=5s&group_by=trace",
            "until",
            "group_by=trace",
        ),
        ("/debug/heap/history?limit=x", "limit", "1 to 1000"),
        (
            "/debug/heap/flamegraph?libraries=all",
            "libraries",
            "folded or shown",
        ),
        ("/debug/heap/flamegraph?since=1h", "since", "1s to 15m"),
        ("/debug/heap/source?location=a.rs", "location", "FILE:LINE"),
        (
            "/debug/heap/source?location=a.rs:1&context=201",
            "context",
            "0 to 200",
        ),
        (
            "/debug/heap/?group_by=trace",
            "group_by",
            "line, function or file",
        ),
        ("/debug/pprof/heap?seconds=0", "seconds", "1 to 900"),
        ("/debug/pprof/heap?seconds=5&debug=1", "seconds", "debug"),
        ("/debug/pprof/allocs?debug=x", "debug", "whole number"),
        ("/debug/pprof/allocs?gc=x", "gc", "whole number"),
    ] {
        let [code, message, _] = mounted.error(path, 422).await;
        assert_eq!(code, "invalid_value", "{path}");
        let (named, accepts) = message.split_once(": ").unwrap();
        assert_eq!(named, name, "{path}");
        assert!(accepts.contains(range), "{path}: {message}");
    }
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_with_the_known_ones() {
    let mounted = mounted();
    for path in [
        "snapshot",
        "diff",
        "history",
        "flamegraph",
        "folded",
        "source",
        "",
    ] {
        let path = format!("/debug/heap/{path}?colour=red");
        let [code, message, hint] = mounted.error(&path, 422).await;
        assert_eq!(code, "invalid_query", "{path}");
        assert!(
            message.contains("colour") && hint.contains("guest"),
            "{message} {hint}"
        );
    }
    let [_, _, hint] = mounted.error("/debug/pprof/heap?plugin=x", 422).await;
    assert_eq!(hint, "the query accepts guest, seconds, debug, gc");
}

#[tokio::test]
async fn an_unknown_guest_is_refused_with_the_known_ones() {
    let mounted = mounted();
    for path in [
        "/debug/heap/?guest=x",
        "/debug/heap/snapshot?guest=x",
        "/debug/heap/diff?guest=x",
        "/debug/heap/history?guest=x",
        "/debug/heap/flamegraph?guest=x",
        "/debug/heap/folded?guest=x",
        "/debug/heap/source?guest=x&location=a.rs:1",
        "/debug/pprof/heap?guest=x",
    ] {
        let [code, message, hint] = mounted.error(path, 404).await;
        assert_eq!(code, "unknown_guest", "{path}");
        assert_eq!(message, "there is no guest \"x\"");
        assert_eq!(hint, "guests: cart");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_json() {
    let mounted = mounted();
    for path in [
        "/debug/heap/nothing",
        "/debug/heap/a/b",
        "/debug/pprof/goroutine",
    ] {
        let [code, _, hint] = mounted.error(path, 404).await;
        assert_eq!(code, "not_found", "{path}");
        assert!(
            hint.contains("flamegraph") && hint.contains("allocs"),
            "{hint}"
        );
    }
    let request = Request::post("/debug/heap/snapshot").body(Body::empty());
    let answer = mounted.send(request.unwrap()).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.json()["error"]["code"], "method_not_allowed");
}

#[tokio::test]
async fn paths_without_a_slash_lead_to_the_page() {
    let mounted = mounted();
    for (path, target) in [("/debug/heap", "heap/"), ("/debug/pprof/", "../heap/")] {
        let answer = mounted.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (307, target)
        );
    }
}

#[tokio::test]
async fn the_router_can_be_nested() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 10)])]);
    let inner = Mounted::of(guests).0;
    let outer = Mounted(axum::Router::new().nest("/guests", inner));
    let snapshot = outer.json("/guests/debug/heap/snapshot").await;
    assert_eq!(snapshot["live_bytes"], 10);
    assert_eq!(outer.get("/guests/debug/heap/").await.status, 200);
}
