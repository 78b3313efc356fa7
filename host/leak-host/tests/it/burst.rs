//! Many requests at the same time, as in exercise 3.

use std::collections::HashSet;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::components::LAB;
use crate::lab::{Lab, failures, number};
use crate::metrics::scrape::Scrape;

/// Sends requests at the same time and returns their answers.
async fn send_burst(lab: &Arc<Lab>, requests: usize) -> Vec<Value> {
    let mut burst = JoinSet::new();
    for _ in 0..requests {
        let lab = Arc::clone(lab);
        burst.spawn(async move { lab.data().await });
    }
    burst.join_all().await
}

/// [`send_burst`] in a task of its own.
fn spawn_burst(lab: &Arc<Lab>, requests: usize) -> JoinHandle<Vec<Value>> {
    let lab = Arc::clone(lab);
    tokio::spawn(async move { send_burst(&lab, requests).await })
}

/// Makes each call of `fixture-slow` take 200 ms. The deadline of a call is 250 ms.
async fn enable_slow_plugin(lab: &Lab) {
    let settings = json!({"enabled": true, "busy_ms": 200, "deadline_ms": 250});
    lab.configure("fixture-slow", settings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_500_requests_is_answered_and_counted_completely() {
    let lab = Arc::new(Lab::with(&LAB).start().await);
    for leak in LAB {
        lab.enable(leak).await;
    }
    let answers = send_burst(&lab, 500).await;
    assert_eq!(answers.len(), 500);
    let mut ids = HashSet::new();
    for answer in &answers {
        assert_eq!(answer["leaks_triggered"], json!(LAB), "{answer}");
        assert_eq!(failures(answer), [] as [Value; 0], "{answer}");
        assert!(
            ids.insert(answer["request_id"].as_str().unwrap().to_owned()),
            "request ids are unique: {answer}"
        );
    }
    for leak in LAB {
        assert_eq!(lab.leak(leak).await["count"], json!(500), "{leak}");
    }
}

/// Keeps every core busy until it is dropped.
struct BusyCores(Vec<Child>);

impl BusyCores {
    fn start() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let busy = || {
            Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .spawn()
        };
        BusyCores((0..2 * cores).map(|_| busy().unwrap()).collect())
    }
}

impl Drop for BusyCores {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _killed = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// Calls wait on a busy machine, and none of them is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_on_a_busy_machine_skip_no_call() {
    // The machine of this test may be busier than any other.
    let lab = Lab::with(&LAB).args(["--queue-timeout", "60s"]);
    let lab = Arc::new(lab.start().await);
    for leak in LAB {
        lab.enable(leak).await;
    }
    let _busy = BusyCores::start();
    let mut sent = 0;
    for requests in [500, 2_000] {
        for answer in send_burst(&lab, requests).await {
            assert_eq!(answer["leaks_triggered"], json!(LAB), "{answer}");
            assert_eq!(failures(&answer), [] as [Value; 0], "{answer}");
        }
        sent += requests;
        for leak in LAB {
            assert_eq!(lab.leak(leak).await["count"], json!(sent), "{leak}");
        }
    }
    let scrape = Scrape::of(&lab).await;
    for leak in LAB {
        let made = |outcome| {
            let labels = [("plugin", leak), ("outcome", outcome)];
            scrape.sum("leak_plugin_invocations_total", &labels)
        };
        assert_eq!(made("ok"), sent as f64, "{leak}");
        assert_eq!(made("busy"), 0.0, "{leak}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_calls_during_traffic_lose_no_object() {
    let lab = Arc::new(Lab::with(&LAB).start().await);
    // On a busy machine a call may wait long, and the host skips a call that has waited too long.
    let settings = json!({"enabled": true, "deadline_ms": 30_000});
    lab.configure("cache", settings).await;
    let mut traffic = JoinSet::new();
    for _ in 0..4 {
        let lab = Arc::clone(&lab);
        traffic.spawn(async move { lab.traffic(200).await });
    }
    let mut removed = 0;
    for _ in 0..10 {
        let cleared = lab.clear("cache").await;
        removed += cleared["entries_removed"].as_u64().unwrap();
        lab.get("/admin/leaks/status?all=true").await;
        lab.get("/admin/memory?all=true").await;
        lab.post("/admin/gc", json!({})).await;
    }
    traffic.join_all().await;
    let retained = lab.leak("cache").await["count"].as_u64().unwrap();
    assert_eq!(removed + retained, 800, "cleared and retained entries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_too_long_for_a_slow_plugin_are_answered_without_it() {
    let lab = Arc::new(Lab::with(&["cache", "fixture-slow"]).start().await);
    lab.enable("cache").await;
    enable_slow_plugin(&lab).await;
    let started = Instant::now();
    let answers = send_burst(&lab, 12).await;
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
    // A call that has started runs to its end. The host skips the others and counts them as `busy`.
    lab.disable("fixture-slow").await;
    let made = number(&lab.leak("fixture-slow").await, "/count");
    // Some calls end too late for their requests.
    assert!(
        (f64::from(in_time)..12.0).contains(&made),
        "{made} calls, {in_time} in time"
    );
    let busy = [("plugin", "fixture-slow"), ("outcome", "busy")];
    let scrape = Scrape::of(&lab).await;
    let skipped = scrape.sum("leak_plugin_invocations_total", &busy);
    assert_eq!(skipped, 12.0 - made);
    assert_eq!(lab.leak("cache").await["count"], json!(12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_calls_to_a_slow_plugin_overtake_its_queued_requests() {
    let lab = Arc::new(Lab::with(&["fixture-slow"]).start().await);
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
        enable_slow_plugin(&lab).await;
        let burst = spawn_burst(&lab, 100);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = Instant::now();
        lab.post(path, body).await;
        let took = started.elapsed();
        assert!(took < in_time, "{path}: {took:?}");
        burst.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_queued_for_a_slow_plugin_do_not_delay_the_unload_of_another() {
    let lab = Arc::new(Lab::with(&["cache", "fixture-slow"]).start().await);
    lab.enable("cache").await;
    enable_slow_plugin(&lab).await;
    let burst = spawn_burst(&lab, 15);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // More than two seconds of calls are queued for the slow plugin.
    let started = Instant::now();
    let unloaded = lab.request(Method::DELETE, "/admin/plugins/cache");
    assert!(unloaded.send().await.unwrap().status().is_success());
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1000), "{took:?}");
    let made = lab.leak("fixture-slow").await["count"].as_u64();
    burst.await.unwrap();
    assert!(made < Some(15), "{made:?}");
}
