//! Exercise 3's burst: many requests at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::components::LAB;
use crate::lab::{Answer, Lab, failures, number};

/// The answers to so many requests that are sent together.
async fn at_once(lab: &Arc<Lab>, requests: usize) -> Vec<Value> {
    let mut burst = JoinSet::new();
    for _ in 0..requests {
        let lab = Arc::clone(lab);
        burst.spawn(async move { lab.data().await });
    }
    burst.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_at_once_are_all_answered_and_all_counted() {
    let lab = Arc::new(Lab::with(&LAB).start().await);
    for leak in LAB {
        lab.enable(leak).await;
    }
    let answers = at_once(&lab, 500).await;
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
    // However busy the machine is: a call that waits for too long is not made.
    let patient = json!({"enabled": true, "deadline_ms": 30_000});
    lab.post("/admin/leaks/cache", patient).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_wait_too_long_for_a_slow_plugin_are_answered_without_it() {
    let lab = Arc::new(Lab::with(&["cache", "fixture-slow"]).start().await);
    lab.enable("cache").await;
    let slow = json!({"enabled": true, "busy_ms": 200, "deadline_ms": 250});
    lab.post("/admin/leaks/fixture-slow", slow).await;
    let started = Instant::now();
    let answers = at_once(&lab, 12).await;
    // Twelve calls take 2.4 seconds.
    let took = started.elapsed();
    assert!(took < Duration::from_millis(2000), "{took:?}");
    let (mut in_time, mut too_late) = (0, 0);
    for answer in answers {
        let triggered = answer["leaks_triggered"].as_array().unwrap();
        assert!(triggered.contains(&json!("cache")), "{answer}");
        match failures(&answer) {
            [] => in_time += 1,
            [failure] => {
                too_late += 1;
                assert_eq!(failure["leak"], "fixture-slow");
                let reason = failure["reason"].as_str().unwrap();
                assert_eq!(
                    reason,
                    "slow: no answer within 300 ms; a call that has begun runs to its end"
                );
            }
            more => panic!("{more:?}"),
        }
    }
    assert!(in_time >= 1 && too_late >= 6, "{in_time} and {too_late}");
    // Calls that had begun are made, the others are counted as those that never were.
    lab.post("/admin/leaks/fixture-slow", json!({"enabled": false}))
        .await;
    let made = number(&lab.leak("fixture-slow").await, "/count");
    // Some of them too late for their requests.
    assert!(
        (f64::from(in_time)..12.0).contains(&made),
        "{made}, {in_time} in time"
    );
    assert_eq!(busy(&lab).await, 12.0 - made);
    assert_eq!(lab.leak("cache").await["count"], json!(12));
}

/// Calls of the slow plugin that never reached it.
async fn busy(lab: &Lab) -> f64 {
    let page = Answer::of(lab.request(Method::GET, "/metrics")).await.text;
    let series = ["leak_plugin_invocations_total{", "fixture-slow", "\"busy\""];
    let of_it = |line: &&str| series.iter().all(|part| line.contains(part));
    let line = page.lines().find(of_it).expect("the series is there");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_plugin_that_many_wait_for_does_at_once_what_it_is_told() {
    let lab = Arc::new(Lab::with(&["fixture-slow"]).start().await);
    let slow = json!({"enabled": true, "busy_ms": 200, "deadline_ms": 250});
    // A hundred calls take twenty seconds.
    let in_time = Duration::from_secs(4);
    let tasks = [
        ("/admin/leaks/fixture-slow", json!({"payload_bytes": 2000})),
        ("/admin/leaks/clear", json!({"leak_type": "fixture-slow"})),
        ("/admin/leaks/fixture-slow/reset", json!({})),
        ("/admin/plugins/fixture-slow/reload", json!({})),
        ("/admin/leaks/fixture-slow", json!({"enabled": false})),
    ];
    for (path, body) in tasks {
        lab.post("/admin/leaks/fixture-slow", slow.clone()).await;
        let burst = {
            let lab = Arc::clone(&lab);
            tokio::spawn(async move { at_once(&lab, 100).await })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = Instant::now();
        lab.post(path, body).await;
        let took = started.elapsed();
        assert!(took < in_time, "{path}: {took:?}");
        burst.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_slow_plugin_keeps_no_other_one_loaded() {
    let lab = Arc::new(Lab::with(&["cache", "fixture-slow"]).start().await);
    lab.enable("cache").await;
    let slow = json!({"enabled": true, "busy_ms": 200, "deadline_ms": 250});
    lab.post("/admin/leaks/fixture-slow", slow).await;
    let burst = {
        let lab = Arc::clone(&lab);
        tokio::spawn(async move { at_once(&lab, 15).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The slow plugin has more than two seconds of calls before it.
    let started = Instant::now();
    let gone = lab.request(Method::DELETE, "/admin/plugins/cache");
    assert!(gone.send().await.unwrap().status().is_success());
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1000), "{took:?}");
    let made = lab.leak("fixture-slow").await["count"].as_u64();
    burst.await.unwrap();
    assert!(made < Some(15), "{made:?}");
}
