//! Snapshot, difference, history, folded stacks and metrics.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::test_guests::{FakeGuests, Mounted};

/// The guest, the location and one number of each row.
fn rows(list: &Value, number: &str) -> Vec<(String, String, i64)> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| {
        let number = row[number].as_i64().unwrap();
        (text(row, "guest"), text(row, "location"), number)
    })
    .collect()
}

fn row(guest: &str, location: &str, number: i64) -> (String, String, i64) {
    (guest.to_owned(), location.to_owned(), number)
}

#[tokio::test]
async fn a_snapshot_has_the_rows_of_all_guests_largest_first() {
    let guests = FakeGuests::with(&[
        ("cart", &[("a.rs:1", 10), ("a.rs:2", 70)]),
        ("shop", &[("b.rs:1", 20)]),
    ]);
    let mounted = Mounted::of(guests);
    let all = mounted.json("/debug/heap/snapshot").await;
    assert_eq!(
        rows(&all["rows"], "live_bytes"),
        [
            row("cart", "a.rs:2", 70),
            row("shop", "b.rs:1", 20),
            row("cart", "a.rs:1", 10)
        ]
    );
    assert_eq!(
        (&all["live_bytes"], &all["live_blocks"]),
        (&json!(100), &json!(3))
    );
    assert_eq!(all["rows"][0]["share"], json!(0.7));
    assert_eq!(all["guests"][0]["attribution"], json!("exact"));
    let one = mounted.json("/debug/heap/snapshot?guest=shop").await;
    assert_eq!(
        rows(&one["rows"], "live_bytes"),
        [row("shop", "b.rs:1", 20)]
    );
    let first = mounted.json("/debug/heap/snapshot?limit=1").await;
    assert_eq!(first["rows"].as_array().unwrap().len(), 1);
    assert_eq!(first["live_bytes"], json!(100), "the sum is of all rows");
    let traces = mounted
        .json("/debug/heap/snapshot?group_by=trace&limit=1")
        .await;
    assert_eq!(traces["rows"][0]["trace"][0]["function"], json!("a.rs:2"));
}

#[tokio::test]
async fn a_difference_has_what_changed_in_the_window() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 100), ("a.rs:2", 70)])]);
    guests.change("cart", |heap| heap.calls = Some(5));
    let mounted = Mounted::of(guests.clone());
    let before = mounted.json("/debug/heap/diff").await;
    assert_eq!(
        before["window_seconds"],
        json!(0.0),
        "one reading has no difference"
    );
    assert_eq!(before["bytes_per_second"], Value::Null);

    tokio::time::sleep(Duration::from_millis(20)).await;
    guests.set("cart", &[("a.rs:1", 90), ("a.rs:2", 70), ("a.rs:3", 1000)]);
    guests.change("cart", |heap| heap.calls = Some(15));
    let diff = mounted.json("/debug/heap/diff?since=1m").await;
    assert_eq!(
        rows(&diff["growing"], "bytes"),
        [row("cart", "a.rs:3", 1000)]
    );
    assert_eq!(
        rows(&diff["shrinking"], "bytes"),
        [row("cart", "a.rs:1", -10)]
    );
    assert_eq!((&diff["bytes"], &diff["blocks"]), (&json!(990), &json!(1)));
    assert_eq!(
        (&diff["calls"], &diff["bytes_per_call"]),
        (&json!(10), &json!(99.0))
    );
    assert_eq!(diff["growing"][0]["bytes_per_call"], json!(100.0));
    let seconds = diff["window_seconds"].as_f64().unwrap();
    let rate = diff["bytes_per_second"].as_f64().unwrap();
    assert!(
        seconds >= 0.02 && (rate * seconds - 990.0).abs() < 1e-6,
        "{diff}"
    );
}

#[tokio::test]
async fn a_window_of_the_past_leaves_out_what_came_later() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 100)])]);
    let mounted = Mounted::of(guests.clone());
    mounted.get("/debug/heap/snapshot").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    guests.set("cart", &[("a.rs:1", 150)]);
    mounted.get("/debug/heap/snapshot").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    guests.set("cart", &[("a.rs:1", 1150)]);
    let past = mounted.json("/debug/heap/diff?since=15m&until=1s").await;
    assert_eq!(rows(&past["growing"], "bytes"), [row("cart", "a.rs:1", 50)]);
    assert!(past["ended_seconds_ago"].as_f64().unwrap() >= 1.0, "{past}");
    let all = mounted.json("/debug/heap/diff?since=15m").await;
    assert_eq!(
        rows(&all["growing"], "bytes"),
        [row("cart", "a.rs:1", 1050)]
    );
    // Call stacks begin at the same second as lines.
    for by in ["line", "trace"] {
        let path = format!("/debug/heap/diff?since=1s&group_by={by}");
        let diff = mounted.json(&path).await;
        assert_eq!(diff["growing"][0]["bytes"], json!(1000), "{diff}");
    }
    let graph = mounted.get("/debug/heap/flamegraph?since=1s").await.text();
    assert!(graph.contains("a.rs:1 +1,000 B"), "{graph}");
}

#[tokio::test]
async fn calls_of_a_new_instance_count_from_zero() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 100)])]);
    guests.change("cart", |heap| heap.calls = Some(500));
    let mounted = Mounted::of(guests.clone());
    mounted.get("/debug/heap/snapshot").await;
    guests.change("cart", |heap| heap.calls = Some(3));
    let diff = mounted.json("/debug/heap/diff").await;
    assert_eq!(diff["calls"], json!(3));
}

#[tokio::test]
async fn a_history_adds_up_to_the_live_bytes() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 100), ("a.rs:2", 10)])]);
    let mounted = Mounted::of(guests.clone());
    mounted.get("/debug/heap/snapshot").await;
    guests.set("cart", &[("a.rs:1", 300), ("a.rs:2", 20)]);
    let history = mounted.json("/debug/heap/history?limit=1").await;
    let series = history["series"].as_array().unwrap();
    let names: Vec<&str> = series
        .iter()
        .map(|s| s["location"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a.rs:1", "other"]);
    let bytes = |series: &Value| -> Vec<u64> {
        let points = series["points"].as_array().unwrap().iter();
        points.map(|point| point[1].as_u64().unwrap()).collect()
    };
    assert_eq!(
        (bytes(&series[0]), bytes(&series[1])),
        (vec![100, 300], vec![10, 20])
    );
}

#[tokio::test]
async fn folded_stacks_begin_with_the_guest() {
    let mounted = Mounted::of(FakeGuests::with(&[
        ("cart", &[("a", 10), ("b", 20)]),
        ("shop", &[("a", 7)]),
    ]));
    let answer = mounted.get("/debug/heap/folded").await;
    assert_eq!(answer.text(), "cart;a 10\ncart;b 20\nshop;a 7\n");
}

#[tokio::test]
async fn a_flame_graph_has_a_policy_of_its_own() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 100)])]);
    let mounted = Mounted::of(guests.clone());
    let live = mounted.get("/debug/heap/flamegraph").await;
    assert_eq!(live.header("content-type"), "image/svg+xml");
    assert!(live.header("content-security-policy").contains("sandbox"));
    assert!(live.text().contains("a.rs:1"));
    guests.set("cart", &[("a.rs:1", 100), ("a.rs:2", 5000)]);
    let change = mounted.get("/debug/heap/flamegraph?since=1m").await.text();
    assert!(
        change.contains("a.rs:2 +5,000 B") && !change.contains("a.rs:1 "),
        "{change}"
    );
}

#[tokio::test]
async fn metrics_have_both_text_formats() {
    let guests = FakeGuests::with(&[("ca\"rt", &[("a.rs:1", 100)])]);
    guests.change("ca\"rt", |heap| heap.calls = Some(9));
    let mounted = Mounted::of(guests);
    let plain = mounted.get("/debug/heap/metrics").await;
    assert!(
        plain
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let plain = plain.text();
    for line in [
        "# TYPE guest_heap_live_bytes gauge",
        "guest_heap_live_bytes{guest=\"ca\\\"rt\"} 100",
        "# TYPE guest_heap_calls_total counter",
        "guest_heap_calls_total{guest=\"ca\\\"rt\"} 9",
        "guest_heap_line_live_bytes{guest=\"ca\\\"rt\",location=\"a.rs:1\"} 100",
    ] {
        assert!(
            plain.lines().any(|found| found == line),
            "{line} in {plain}"
        );
    }
    let request = Request::get("/debug/heap/metrics")
        .header("accept", "application/openmetrics-text; version=1.0.0")
        .body(Body::empty());
    let open = mounted.send(request.unwrap()).await;
    assert!(
        open.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let open = open.text();
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE guest_heap_calls counter"));
    assert!(
        open.contains("guest_heap_calls_total{")
            && open.contains("# UNIT guest_heap_live_bytes bytes")
    );
}
