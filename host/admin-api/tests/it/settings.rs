//! Settings: ranges, and what a change does.

use axum::http::Method;
use serde_json::json;
use test_support::TestHost;
use test_support::components::LAB;

const CACHE: &str = "/admin/leaks/cache";

#[tokio::test]
async fn a_setting_alone_does_not_switch_the_leak_on() {
    let host = TestHost::with(&LAB).start().await;
    let answer = host.post(CACHE, json!({"payload_bytes": 2000})).await;
    assert_eq!(answer["enabled"], json!(false));
    assert_eq!(answer["settings"]["payload_bytes"], json!(2000));
    let status = host.leak("cache").await;
    assert_eq!(status["settings"], answer["settings"]);
    assert_eq!(status["enabled"], json!(false));
}

#[tokio::test]
async fn a_growth_setting_out_of_range_is_refused_and_changes_nothing() {
    let host = TestHost::with(&["cache"]).start().await;
    host.enable("cache").await;
    let before = host.leak("cache").await["settings"].clone();
    for (setting, value) in [
        ("curve", json!("square")),
        ("curve_every", json!(0)),
        ("curve_every", json!(100_001)),
        ("target_mb", json!(0)),
        ("target_mb", json!(5000)),
        ("target_minutes", json!(0)),
        ("target_minutes", json!(null)),
    ] {
        let body = json!({"payload_bytes": 1, setting: value});
        let answer = host.request(Method::POST, CACHE).json(&body).send().await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.error_code("setting"), "invalid_value", "{body}");
        assert!(answer.text.contains(setting), "{}", answer.text);
    }
    assert_eq!(host.leak("cache").await["settings"], before);
}

#[tokio::test]
async fn a_host_without_plugins_answers_every_call_about_all_leaks() {
    let host = TestHost::with(&[]).start().await;
    assert_eq!(host.data().await["leaks_triggered"], json!([]));
    assert_eq!(host.get("/admin/leaks/status").await["leaks"], json!({}));
    host.post("/admin/leaks/clear", json!({})).await;
    host.post("/admin/gc", json!({})).await;
}
