//! Scenarios over HTTP: start, status, end, and files that change nothing.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::components::LAB;
use test_support::{Answer, TestHost, number};

const GAME_DAY: &str = "\
name: two leaks
steps:
  - leak: cache
    settings:
      payload_bytes: 2048
      max_mb: 10
  - leak: history
    start_after: 24h
    duration: 1h
    traffic:
      requests_per_second: 20
";

async fn send(host: &TestHost, text: &str) -> Answer {
    let request = host.request(Method::POST, "/admin/scenario");
    request.body(text.to_owned()).send().await
}

async fn end(host: &TestHost) -> Answer {
    host.request(Method::DELETE, "/admin/scenario").send().await
}

/// Sends a scenario that must be refused, and returns the message.
async fn refused(host: &TestHost, text: &str) -> String {
    let before = host.leak_states().await;
    let answer = send(host, text).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        answer.text
    );
    assert_eq!(answer.error_code(text), "invalid_scenario");
    assert_eq!(host.leak_states().await, before, "{text}");
    assert_eq!(host.get("/admin/scenario").await["status"], json!("none"));
    answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_scenario_enables_its_leaks_and_its_end_restores_them() {
    let host = TestHost::with(&LAB).start().await;
    let settings = json!({"payload_bytes": 100, "ttl_seconds": 7000});
    host.post("/admin/leaks/cache", settings).await;
    host.enable("listeners").await;
    let before = host.leak_states().await;
    assert_eq!(host.get("/admin/scenario").await["status"], json!("none"));

    let started = send(&host, GAME_DAY).await.ok("start");
    assert_eq!(started["status"], json!("running"));
    assert_eq!(started["name"], json!("two leaks"));
    assert_eq!(started["steps"][0]["active"], json!(true));
    assert_eq!(started["steps"][1]["enabled"], json!(true));
    assert_eq!(started["steps"][1]["active"], json!(false));
    assert_eq!(
        started["steps"][1]["traffic"]["requests_per_second"],
        json!(20.0)
    );
    assert_eq!(started["next"]["leak"], json!("history"));
    assert_eq!(started["next"]["change"], json!("on"));
    assert!(number(&started, "/next/in_seconds") <= 86_400.0);
    let settings = &host.leak("cache").await["settings"];
    assert_eq!(settings["payload_bytes"], json!(2048));
    assert_eq!(settings["ttl_seconds"], Value::Null, "back at its default");
    let triggered = &host.data().await["leaks_triggered"];
    assert_eq!(triggered, &json!(["cache", "listeners"]));

    let second = send(&host, GAME_DAY).await;
    assert_eq!(second.error_code("a second one"), "scenario_running");
    assert_eq!(second.status, StatusCode::CONFLICT);

    let ended = end(&host).await.ok("end");
    assert_eq!(ended["restored"], json!(["cache", "history"]));
    assert_eq!(ended["failed"], json!({}));
    let mut after = host.leak_states().await;
    assert_eq!(
        after["cache"]["count"],
        json!(1),
        "it keeps what it retains"
    );
    for leak in ["cache", "listeners"] {
        after[leak]["count"] = json!(0);
    }
    assert_eq!(after, before);
    assert_eq!(host.get("/admin/scenario").await["status"], json!("none"));
    assert_eq!(end(&host).await.error_code("nothing to end"), "no_scenario");
}

#[tokio::test]
async fn a_scenario_that_is_wrong_in_any_part_changes_nothing() {
    let host = TestHost::with(&LAB).start().await;
    for (wrong, says) in [
        (
            GAME_DAY.replace("leak: history", "leak: histroy"),
            "line 7, steps[1].leak: no such leak is loaded; loaded are cache, history, listeners",
        ),
        (
            GAME_DAY.replace("max_mb: 10", "max_mb: 5000"),
            "line 6, steps[0].settings.max_mb: takes a number from 0 to 4096, or null for none",
        ),
        (
            GAME_DAY.replace("max_mb", "max_mib"),
            "line 6, steps[0].settings.max_mib: cache has no such setting; it has variant, ",
        ),
        (
            GAME_DAY.replace("24h", "1d"),
            "line 8, steps[1].start_after: takes a time with its unit, such as 90s, 5m or 1h30m",
        ),
        ("name: [".to_owned(), "this is not YAML: "),
        (String::new(), "takes a map of fields, not nothing"),
    ] {
        let message = refused(&host, &wrong).await;
        assert!(message.contains(says), "{message}");
    }
    // A list of the settings does not have those that are fields of the step.
    let message = refused(&host, &GAME_DAY.replace("max_mb", "max_mib")).await;
    assert!(!message.contains("duration_seconds"), "{message}");
    let body = vec![0xff, 0xfe];
    let request = host.request(Method::POST, "/admin/scenario").body(body);
    assert_eq!(request.send().await.error_code("bytes"), "invalid_scenario");
}

/// With another profile, the second leak needs a fresh instance, which does not fit into its limit.
#[tokio::test]
async fn a_leak_that_fails_at_the_start_undoes_the_others() {
    let host = TestHost::with(&LAB).start().await;
    host.post("/admin/leaks/cache", json!({"payload_bytes": 77}))
        .await;
    let before = host.leak_states().await;
    let tight = "settings: {heap_profile: \"off\", memory_limit_mb: 1}\n    start_after: 24h";
    let answer = send(&host, &GAME_DAY.replace("start_after: 24h", tight)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    assert_eq!(answer.error_code("no fresh instance"), "plugin_not_started");
    assert_eq!(host.leak_states().await, before);
    assert_eq!(host.get("/admin/scenario").await["status"], json!("none"));
    // The next one starts.
    send(&host, GAME_DAY).await.ok("start");
}

#[tokio::test]
async fn json_is_accepted_and_a_reset_of_everything_ends_a_scenario() {
    let host = TestHost::with(&LAB).start().await;
    let scenario = json!({"name": "one", "steps": [{"leak": "cache", "duration": "1h"}]});
    let started = host.post("/admin/scenario", scenario).await;
    assert_eq!(started["next"]["change"], json!("off"));
    host.post("/admin/reset", json!({})).await;
    assert_eq!(host.get("/admin/scenario").await["status"], json!("none"));
    assert_eq!(host.leak("cache").await["enabled"], json!(false));
}

#[tokio::test]
async fn a_plugin_that_is_unloaded_leaves_the_scenario() {
    let host = TestHost::with(&LAB).start().await;
    send(&host, GAME_DAY).await.ok("start");
    let path = "/admin/plugins/history";
    host.request(Method::DELETE, path).send().await.ok("unload");
    let status = host.get("/admin/scenario").await;
    assert_eq!(status["steps"][1]["enabled"], json!(false));
    assert_eq!(status["next"], Value::Null);
    let ended = end(&host).await.ok("end");
    assert_eq!(ended["failed"], json!({}));
    assert_eq!(host.leak("cache").await["enabled"], json!(false));
}

#[tokio::test]
async fn the_examples_run_with_the_plugins_of_the_lab() {
    let plugins = [
        "cache",
        "history",
        "in-flight",
        "listeners",
        "metric-labels",
        "sawtooth",
        "sessions",
        "warm-up",
    ];
    let host = TestHost::with(&plugins).start().await;
    let before = host.leak_states().await;
    for text in [
        include_str!("../../../../scenarios/burst.yaml"),
        include_str!("../../../../scenarios/decoy-first.yaml"),
        include_str!("../../../../scenarios/game-day.yaml"),
    ] {
        let started = send(&host, text).await.ok(text);
        assert_eq!(started["status"], json!("running"));
        assert!(started["next"].is_object(), "{started:#}");
        end(&host).await.ok("end");
        assert_eq!(host.leak_states().await, before);
    }
}
