//! Leaks with a schedule: when they are active, and what changes, resets and failures do to it.

use std::time::Duration;

use serde_json::{Value, json};
use test_support::components::LAB;
use test_support::{TestHost, number};

async fn configure(host: &TestHost, body: Value) -> Value {
    host.post("/admin/leaks/cache", body).await
}

async fn leak(host: &TestHost) -> Value {
    host.leak("cache").await
}

/// Whether a request reaches the leak.
async fn triggers(host: &TestHost) -> bool {
    host.data().await["leaks_triggered"] == json!(["cache"])
}

/// The kinds of the leak's events that the schedule and the switch make.
fn events(host: &TestHost) -> Vec<&'static str> {
    let plugin = host.state().registry.get("cache").unwrap();
    let events = plugin.journal().events();
    let kinds = events
        .iter()
        .map(|event| admin_api::overview::event_name(&event.kind));
    kinds
        .filter(|kind| ["enabled", "disabled", "on", "off"].contains(kind))
        .collect()
}

/// Waits until the schedule has made this many changes.
async fn wait_for_changes(host: &TestHost, changes: usize) {
    loop {
        let scheduled = events(host)
            .into_iter()
            .filter(|kind| ["on", "off"].contains(kind));
        if scheduled.count() >= changes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_leak_starts_ends_and_repeats_as_scheduled() {
    let host = TestHost::with(&LAB).start().await;
    let answer = configure(
        &host,
        json!({"enabled": true, "start_after_seconds": 1, "duration_seconds": 1, "repeat_seconds": 2}),
    )
    .await;
    assert_eq!(answer["enabled"], json!(true));
    assert_eq!(answer["active"], json!(false));
    assert!((0.0..=1.0).contains(&number(&answer, "/next_change_in_seconds")));
    wait_for_changes(&host, 4).await;
    assert_eq!(events(&host)[..5], ["enabled", "on", "off", "on", "off"]);
    assert_eq!(leak(&host).await["enabled"], json!(true));
}

#[tokio::test]
async fn requests_reach_a_leak_only_while_it_is_active() {
    let host = TestHost::with(&LAB).start().await;
    let day = 86_400;
    configure(&host, json!({"enabled": true, "start_after_seconds": day})).await;
    assert!(!triggers(&host).await);
    let status = leak(&host).await;
    assert_eq!(
        (&status["enabled"], &status["active"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(status["requests"], json!(0), "no request was offered to it");
    let left = number(&status, "/next_change_in_seconds");
    assert!(left > 0.0 && left <= f64::from(day), "{left}");
    let page = host
        .request(axum::http::Method::GET, "/metrics")
        .send()
        .await
        .text;
    assert!(
        page.contains("leak_enabled{plugin=\"cache\"} 1\n"),
        "{page}"
    );
    assert!(page.contains("leak_active{plugin=\"cache\"} 0\n"), "{page}");

    // A change of the schedule begins it again: now there is no pause at its start.
    configure(
        &host,
        json!({"start_after_seconds": null, "duration_seconds": day}),
    )
    .await;
    assert!(triggers(&host).await);
    let status = leak(&host).await;
    assert_eq!(status["active"], json!(true));
    assert!(number(&status, "/next_change_in_seconds") > 0.0);

    // Any other change leaves it as it is.
    let next_change = || {
        let cache = host.state().registry.get("cache").unwrap();
        cache.details().next_change_in()
    };
    let before = next_change();
    configure(&host, json!({"payload_bytes": 100})).await;
    let after = next_change();
    assert!(after <= before && after.is_some(), "{after:?} {before:?}");

    // Without a schedule, an enabled leak is active.
    configure(&host, json!({"duration_seconds": null})).await;
    let status = leak(&host).await;
    assert_eq!(status["active"], json!(true));
    assert_eq!(status["next_change_in_seconds"], Value::Null);
}

#[tokio::test]
async fn a_schedule_survives_a_fresh_instance_and_ends_with_the_switch() {
    let host = TestHost::with(&LAB).start().await;
    let schedule = json!({"enabled": true, "duration_seconds": 9000, "repeat_seconds": 9001});
    configure(&host, schedule).await;
    host.traffic(3).await;
    host.post("/admin/leaks/cache/reset", json!({})).await;
    let status = leak(&host).await;
    assert_eq!(status["generation"], json!(2));
    assert_eq!(status["active"], json!(true), "the schedule goes on");
    assert!(number(&status, "/next_change_in_seconds") > 0.0);

    configure(&host, json!({"enabled": false})).await;
    let status = leak(&host).await;
    assert_eq!(
        (&status["enabled"], &status["active"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(status["next_change_in_seconds"], Value::Null);
    assert_eq!(
        status["settings"]["duration_seconds"],
        json!(9000.0),
        "the settings stay"
    );
    assert!(!triggers(&host).await);

    configure(&host, json!({"enabled": true})).await;
    host.post("/admin/reset", json!({})).await;
    let status = leak(&host).await;
    assert_eq!(
        (&status["enabled"], &status["active"]),
        (&json!(false), &json!(false))
    );
    configure(&host, json!({"enabled": true})).await;
    let status = leak(&host).await;
    assert_eq!(status["active"], json!(true), "the schedule is gone");
    assert_eq!(status["next_change_in_seconds"], Value::Null);
}
