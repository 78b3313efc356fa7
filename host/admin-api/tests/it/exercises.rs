//! The exercises of the README, done over HTTP, and what the host says of each.

mod left_out;

use axum::http::Method;
use serde_json::{Value, json};
use test_support::TestHost;
use test_support::components::LAB;

async fn verify(host: &TestHost, exercise: usize) -> Value {
    let path = format!("/admin/exercises/{exercise}/verify");
    host.post(&path, json!({})).await
}

/// The ids of the steps that are missing.
fn missing(answer: &Value) -> Vec<String> {
    let steps = answer["steps"].as_array().unwrap().iter();
    let missing = steps.filter(|step| step["done"] == json!(false));
    missing
        .map(|step| {
            assert!(step["missing"].as_str().unwrap().ends_with('.'), "{step}");
            step["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn the_six_exercises_are_done_after_their_calls() {
    let host = TestHost::with(&LAB).start().await;
    for exercise in 1..=6 {
        let before = verify(&host, exercise).await;
        assert_eq!(before["exercise"], json!(exercise));
        assert_eq!(before["done"], json!(false));
        assert_eq!(
            missing(&before).len(),
            before["steps"].as_array().unwrap().len()
        );
    }
    for exercise in 1..=6 {
        left_out::do_exercise(&host, exercise, None).await;
    }
    for exercise in 1..=6 {
        let after = verify(&host, exercise).await;
        assert_eq!(after["done"], json!(true), "{after:#}");
        assert_eq!(missing(&after), [""; 0], "{after:#}");
    }
    let list = host.get("/admin/exercises").await;
    let all = list["exercises"].as_array().unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|exercise| exercise["done"] == json!(true)));

    // The next learner starts again, whatever happened before.
    host.request(Method::DELETE, "/admin/exercises")
        .send()
        .await
        .ok("start over");
    assert_eq!(
        missing(&verify(&host, 1).await),
        ["1.1", "1.2", "1.3", "1.4"]
    );
    assert_eq!(
        missing(&verify(&host, 5).await),
        ["5.1", "5.2", "5.3", "5.4"]
    );
}

#[tokio::test]
async fn a_reset_counts_as_clear_and_gc() {
    let host = TestHost::with(&LAB).start().await;
    host.enable("cache").await;
    host.traffic(10).await;
    host.post("/admin/leaks/cache/reset", json!({})).await;
    assert_eq!(missing(&verify(&host, 5).await), ["5.3", "5.4"]);
    host.post(
        "/admin/leaks/cache",
        json!({"variant": "fixed", "max_entries": 5}),
    )
    .await;
    host.traffic(20).await;
    host.get("/admin/exercises").await;
    assert_eq!(missing(&verify(&host, 5).await), ["5.4"]);
    // The fixed cache is full, so nothing grows.
    host.traffic(500).await;
    assert_eq!(verify(&host, 5).await["done"], json!(true));
}
