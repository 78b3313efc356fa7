//! Exercise 3's burst: many requests at once.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::components::LAB;
use crate::lab::{Lab, failures};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_at_once_are_all_answered_and_all_counted() {
    let lab = Arc::new(Lab::with(&LAB).start().await);
    for leak in LAB {
        lab.enable(leak).await;
    }
    let mut burst = JoinSet::new();
    for _ in 0..500 {
        let lab = Arc::clone(&lab);
        burst.spawn(async move { lab.data().await });
    }
    let answers = burst.join_all().await;
    assert_eq!(answers.len(), 500);
    let mut ids = std::collections::HashSet::new();
    for answer in &answers {
        assert_eq!(answer["leaks_triggered"], json!(LAB), "{answer}");
        assert_eq!(failures(answer), [] as [Value; 0], "{answer}");
        assert!(
            ids.insert(answer["request_id"].as_str().unwrap().to_owned()),
            "ids are unique"
        );
    }
    for leak in LAB {
        assert_eq!(lab.leak(leak).await["count"], json!(500), "{leak}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administering_during_traffic_loses_nothing() {
    let lab = Arc::new(Lab::with(&LAB).start().await);
    lab.enable("cache").await;
    let mut traffic = JoinSet::new();
    for _ in 0..4 {
        let lab = Arc::clone(&lab);
        traffic.spawn(async move { lab.traffic(200).await });
    }
    let mut removed = 0;
    for _ in 0..10 {
        let cleared = lab
            .post("/admin/leaks/clear", json!({"leak_type": "cache"}))
            .await;
        removed += cleared["entries_removed"].as_u64().unwrap();
        lab.get("/admin/leaks/status").await;
        lab.get("/admin/memory").await;
        lab.post("/admin/gc", json!({})).await;
    }
    traffic.join_all().await;
    let left = lab.leak("cache").await["count"].as_u64().unwrap();
    assert_eq!(removed + left, 800, "what was not cleared is still there");
}
