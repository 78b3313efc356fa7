//! What bounds the readings.

use std::time::Duration;

use guest_heap_inspector::{Inspector, Options};

use crate::test_guests::{FakeGuests, Mounted};

#[tokio::test]
async fn queries_share_a_young_reading() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 10)])]);
    guests.change("cart", |heap| heap.delay = Duration::from_millis(50));
    let options = Options {
        max_reading_age: Duration::from_secs(3600),
        ..Options::default()
    };
    let mounted = Mounted::with_options(guests.clone(), options);
    let query = || mounted.json("/debug/heap/snapshot");
    // Those that come while it is read wait for it.
    let answers = tokio::join!(query(), query(), query());
    for answer in [&answers.0, &answers.1, &answers.2, &query().await] {
        assert_eq!(answer["live_bytes"], 10);
    }
    assert_eq!(guests.readings(), 1);
}

#[tokio::test]
async fn a_busy_guest_is_an_error_only_for_those_who_name_it() {
    let guests = FakeGuests::with(&[("busy", &[("a.rs:1", 10)]), ("free", &[("b.rs:1", 7)])]);
    guests.change("busy", |heap| heap.delay = Duration::from_secs(3600));
    let options = Options {
        reading_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let mounted = Mounted::with_options(guests, options);
    let [code, _, _] = mounted.error("/debug/heap/snapshot?guest=busy", 503).await;
    assert_eq!(code, "guest_busy");
    assert_eq!(mounted.json("/debug/heap/snapshot").await["live_bytes"], 7);
}

#[tokio::test]
async fn the_history_forgets_guests_that_have_ended() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 10)]), ("shop", &[("b.rs:1", 7)])]);
    let options = Options {
        history_interval: Duration::from_millis(20),
        max_reading_age: Duration::ZERO,
        ..Options::default()
    };
    let inspector = Inspector::new(guests.clone(), options);
    let mounted = Mounted(inspector.router());
    let keeper = tokio::spawn(inspector.keep_history());
    // Without a query, the history grows.
    while guests.readings() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let history = mounted.json("/debug/heap/history?guest=shop").await;
    assert!(
        history["window_seconds"].as_f64().unwrap() > 0.0,
        "{history}"
    );

    guests.remove("shop");
    let [code, _, _] = mounted.error("/debug/heap/history?guest=shop", 404).await;
    assert_eq!(code, "unknown_guest");
    let readings = guests.readings();
    while guests.readings() < readings + 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    guests.set("shop", &[("b.rs:1", 900)]);
    let diff = mounted.json("/debug/heap/diff?guest=shop&since=15m").await;
    assert_eq!(
        diff["bytes"], 0,
        "a guest of the same name begins with no history: {diff}"
    );

    // The task ends with the inspector.
    drop((mounted, inspector));
    keeper.await.unwrap();
}

#[tokio::test]
async fn guests_beyond_the_maximum_have_no_history() {
    let guests = FakeGuests::with(&[("cart", &[("a.rs:1", 10)]), ("shop", &[("b.rs:1", 7)])]);
    let options = Options {
        max_guests: 1,
        max_reading_age: Duration::ZERO,
        ..Options::default()
    };
    let mounted = Mounted::with_options(guests.clone(), options);
    mounted.get("/debug/heap/snapshot").await;
    guests.set("cart", &[("a.rs:1", 30)]);
    guests.set("shop", &[("b.rs:1", 900)]);
    let diff = mounted.json("/debug/heap/diff").await;
    assert_eq!(diff["bytes"], 20, "{diff}");
    let snapshot = mounted.json("/debug/heap/snapshot?guest=shop").await;
    assert_eq!(snapshot["live_bytes"], 900);
}
