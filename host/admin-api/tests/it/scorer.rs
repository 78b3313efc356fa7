//! The live scorer: notifications of an Alertmanager, judged by what the host knows.

use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use test_support::TestHost;

/// A notification with one alert, which began to fire `ago` seconds ago.
fn notification(name: &str, plugin: Option<&str>, ago: i64) -> Value {
    let starts_at = Timestamp::now() - SignedDuration::from_secs(ago);
    let mut labels = json!({"alertname": name});
    if let Some(plugin) = plugin {
        labels["plugin"] = json!(plugin);
    }
    json!({
        "version": "4",
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": {},
            "startsAt": starts_at.to_string(), "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": format!("{name}{plugin:?}{ago}"),
        }],
    })
}

async fn notify(host: &TestHost, name: &str, plugin: Option<&str>, ago: i64) {
    let body = notification(name, plugin, ago);
    let answer = host.post("/admin/scorer/alertmanager", body).await;
    assert_eq!(answer["received"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_judged_by_the_leaks_that_are_on() {
    let host = TestHost::with(&["cache", "listeners", "warm-up"])
        .start()
        .await;
    host.enable("cache").await;
    host.enable("warm-up").await;
    host.traffic(10).await;
    notify(&host, "RightOne", Some("cache"), -2).await;
    notify(&host, "OfTheProcess", None, -3).await;
    notify(&host, "TooEarly", Some("cache"), 3600).await;
    notify(&host, "Decoy", Some("warm-up"), -1).await;
    notify(&host, "Idle", Some("listeners"), -1).await;
    let scores = host.get("/admin/scorer").await;
    let roles: Vec<_> = scores["truth"].as_array().unwrap().iter().collect();
    assert_eq!(roles.len(), 2, "{scores}");
    assert_eq!(
        (&roles[0]["plugin"], &roles[0]["role"]),
        (&json!("cache"), &json!("leak"))
    );
    assert_eq!(
        (&roles[1]["plugin"], &roles[1]["role"]),
        (&json!("warm-up"), &json!("decoy"))
    );
    let alerts = &scores["alerts"];
    for right in ["RightOne", "OfTheProcess"] {
        let leak = &alerts[right]["leaks"][0];
        assert!(leak["seconds_to_detect"].as_u64().unwrap() <= 4, "{scores}");
        assert_eq!(alerts[right]["false_alarms"], 0, "{right}: {scores}");
    }
    for wrong in ["TooEarly", "Decoy", "Idle"] {
        assert!(
            alerts[wrong]["leaks"][0]["seconds_to_detect"].is_null(),
            "{scores}"
        );
        assert_eq!(alerts[wrong]["false_alarms"], 1, "{wrong}: {scores}");
    }
    assert_eq!(scores["together"]["false_alarms"], 3);

    // The fixed variant does not leak, so every alert is a false one.
    host.post("/admin/leaks/cache", json!({"variant": "fixed"}))
        .await;
    let scores = host.get("/admin/scorer").await;
    assert_eq!(scores["alerts"]["RightOne"]["false_alarms"], 1, "{scores}");

    let forgotten = host.request(Method::DELETE, "/admin/scorer").send().await;
    forgotten.ok("forget");
    let scores = host.get("/admin/scorer").await;
    assert_eq!(scores["alerts"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mystery_is_scored_when_it_has_ended() {
    let roster = ["cache", "history", "listeners", "sessions"];
    let host = TestHost::with(&roster).start().await;
    let order = json!({"seed": 4, "difficulty": 1, "duration": "10s"});
    host.post("/admin/mystery", order).await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    for plugin in ["plugin-a", "plugin-b", "plugin-c"] {
        notify(&host, "Growth", Some(plugin), 0).await;
    }
    let hidden = host.request(Method::GET, "/admin/scorer").send().await;
    assert_eq!(hidden.error_code("scorer"), "mystery_running");
    let ended = host.request(Method::DELETE, "/admin/mystery").send().await;
    ended.ok("end");
    let scores = host.get("/admin/scorer").await;
    let growth = &scores["alerts"]["Growth"];
    // One plugin of three leaks at level 1.
    assert_eq!(growth["leaks"].as_array().unwrap().len(), 1, "{scores}");
    assert!(
        growth["leaks"][0]["seconds_to_detect"].is_number(),
        "{scores}"
    );
    assert_eq!(growth["false_alarms"], 2, "{scores}");
}

#[tokio::test]
async fn what_is_no_notification_changes_nothing() {
    let host = TestHost::with(&[]).start().await;
    test_support::bad_calls::check(
        &host,
        r#"
POST /admin/scorer/alertmanager {} => 422 missing_field: version, Alertmanager
POST /admin/scorer/alertmanager {"version": "3", "alerts": []} => 422 invalid_value: version
POST /admin/scorer/alertmanager {"version": "4"} => 422 invalid_value: alerts
POST /admin/scorer/alertmanager nonsense => 400 malformed_json: JSON
"#,
    )
    .await;
    assert_eq!(host.get("/admin/scorer").await["alerts"], json!({}));
}
