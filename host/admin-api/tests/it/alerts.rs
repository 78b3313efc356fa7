//! The receiver of Alertmanager's notifications.

use axum::http::Method;
use serde_json::{Value, json};

use super::contract::{Type, check};
use test_support::{TestHost, number};

fn alert(name: &str, plugin: &str, status: &str) -> Value {
    json!({
        "status": status,
        "labels": {"alertname": name, "plugin": plugin, "severity": "critical"},
        "annotations": {"summary": format!("{plugin} leaks"), "runbook_url": "docs/alerts/a.md",
            "console_url": format!("http://localhost:8080/?view=memory&plugin={plugin}")},
        "startsAt": "2026-11-30T10:00:00.5Z",
        "endsAt": if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-11-30T10:05:00Z" },
        "generatorURL": "http://localhost:9090/graph",
        "fingerprint": format!("{name}-{plugin}"),
    })
}

/// What Alertmanager 0.31 sends.
fn notification(alerts: &[Value]) -> Value {
    json!({
        "receiver": "lab", "status": "firing", "alerts": alerts, "groupLabels": {},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://localhost:9093",
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0,
    })
}

#[tokio::test]
async fn alerts_are_shown_while_they_fire_and_after_they_are_resolved() {
    let host = TestHost::with(&[]).start().await;
    let none = host.get("/admin/alerts").await;
    assert_eq!(none["alerts"], json!([]));

    let two = [
        alert("LeakSuspect", "cache", "firing"),
        alert("LeakConfirmed", "cache", "firing"),
    ];
    let answer = host.post("/admin/alerts", notification(&two)).await;
    assert_eq!(answer, json!({"received": 2, "firing": 2}));
    let resolved = [alert("LeakConfirmed", "cache", "resolved")];
    host.post("/admin/alerts", notification(&resolved)).await;

    let all = host.get("/admin/alerts").await;
    assert_eq!(
        (&all["firing"], &all["resolved"], &all["notifications"]),
        (&json!(1), &json!(1), &json!(2))
    );
    let fields = [
        ("name", Type::OneOf(&["LeakSuspect"])),
        ("status", Type::OneOf(&["firing"])),
        ("severity", Type::OneOf(&["critical"])),
        ("plugin", Type::OneOf(&["cache"])),
        ("summary", Type::Text),
        ("starts_at", Type::Time),
        ("ends_at", Type::Null),
        ("received_at", Type::Time),
    ];
    check("a firing alert", &all, "/alerts/0", &fields);
    // 2026-11-30T10:00:00Z
    let url = "http://localhost:8080/?view=memory&plugin=cache&at=1796032800";
    assert_eq!(all["alerts"][0]["console_url"], url);
    let fields = [
        ("name", Type::OneOf(&["LeakConfirmed"])),
        ("status", Type::OneOf(&["resolved"])),
        ("ends_at", Type::Time),
    ];
    check("a resolved alert", &all, "/alerts/1", &fields);
}

#[tokio::test]
async fn the_number_of_alerts_is_bounded_and_firing_ones_stay() {
    let host = TestHost::with(&[]).start().await;
    let firing = [alert("LeakSuspect", "cache", "firing")];
    host.post("/admin/alerts", notification(&firing)).await;
    for round in 0..3 {
        let many: Vec<Value> = (0..100)
            .map(|n| alert("LeakConfirmed", &format!("p{round}-{n}"), "resolved"))
            .collect();
        host.post("/admin/alerts", notification(&many)).await;
    }
    let all = host.get("/admin/alerts").await;
    assert_eq!(number(&all, "/firing"), 1.0);
    assert_eq!(number(&all, "/resolved"), 199.0);
    assert_eq!(all["alerts"][0]["name"], json!("LeakSuspect"));
}

#[tokio::test]
async fn what_is_no_notification_is_refused_and_changes_nothing() {
    let host = TestHost::with(&[]).start().await;
    let with = |field: &str, value: Value| {
        let mut alert = alert("LeakSuspect", "cache", "firing");
        alert[field] = value;
        notification(&[alert])
    };
    let long = "x".repeat(200);
    for body in [
        json!({}),
        json!({"version": "3", "alerts": []}),
        json!({"version": "4", "alerts": 1}),
        json!({"version": "4", "alerts": ["a"]}),
        with("status", json!("maybe")),
        with("labels", json!({"severity": "warning"})),
        with("labels", json!({"alertname": 1})),
        with("labels", json!({"alertname": "a", long: "b"})),
        with("startsAt", json!("yesterday")),
        with("startsAt", Value::Null),
        with("annotations", json!([])),
        notification(&vec![alert("LeakSuspect", "cache", "firing"); 257]),
    ] {
        let request = host.request(Method::POST, "/admin/alerts").json(&body);
        let answer = request.send().await;
        assert!(
            [413, 422].contains(&answer.status.as_u16()),
            "{} for {body}",
            answer.status
        );
    }
    let all = host.get("/admin/alerts").await;
    assert_eq!(
        (&all["alerts"], &all["notifications"]),
        (&json!([]), &json!(0))
    );
}
