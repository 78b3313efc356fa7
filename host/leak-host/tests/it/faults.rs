//! Plugins that misbehave, built from `plugins/fixtures`. None of them may affect the service or
//! another plugin.

mod backtrace;

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::lab::{Answer, Lab, failures, number, wait_for};
use crate::metrics::scrape::Scrape;

/// The deadline of one call into a plugin, 250 ms, and 750 ms for a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250 + 750);

/// The reason in the plugin's entry of `leaks_failed`.
fn failure_reason(data: &Value, plugin: &str) -> Option<String> {
    let entry = failures(data)
        .iter()
        .find(|failed| failed["leak"] == json!(plugin))?;
    Some(entry["reason"].as_str().expect("a reason").to_owned())
}

/// Sends requests until the plugin fails. Returns the reason and the number of requests. Every
/// request must be answered in time.
async fn wait_for_failure(lab: &Lab, plugin: &str) -> (String, usize) {
    for request in 1..=200 {
        let started = Instant::now();
        let data = lab.data().await;
        let took = started.elapsed();
        assert!(
            took <= ANSWER_TIMEOUT,
            "{plugin} delays the answer to {took:?}"
        );
        if let Some(reason) = failure_reason(&data, plugin) {
            let triggered = data["leaks_triggered"].as_array().unwrap();
            assert!(
                !triggered.contains(&json!(plugin)),
                "either triggered or failed: {data}"
            );
            return (reason, request);
        }
    }
    panic!("{plugin} does not fail: {}", lab.leak(plugin).await);
}

/// Waits until the plugin is not running any more, and returns its status.
async fn wait_until_stopped(lab: &Lab, plugin: &str) -> Value {
    wait_for("the plugin stops", ANSWER_TIMEOUT, async || {
        let status = lab.leak(plugin).await;
        if status["state"] == json!("running") {
            return Err(status);
        }
        Ok(status)
    })
    .await
}

/// Asserts everything that must hold when a plugin breaks. `state` is the state that it ends in,
/// and `says` is a part of the reason.
async fn check_containment(plugin: &str, state: &str, says: &str) {
    let lab = Lab::with(&["cache", "history", plugin]).start().await;
    for leak in ["cache", "history", plugin] {
        lab.enable(leak).await;
    }
    let start = lab.get("/admin/leaks/status?all=true").await;
    let (reason, mut requests) = wait_for_failure(&lab, plugin).await;
    assert!(reason.contains(says), "{plugin}: the reason is {reason:?}");

    // The service may give up on the call before the host has ended the call itself.
    let status = wait_until_stopped(&lab, plugin).await;
    assert_eq!(status["state"], json!(state), "{status}");
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains(says), "{plugin}: the reason is {reason:?}");
    assert!(!reason.contains("wasm backtrace"), "one sentence: {reason}");
    let health = lab.get("/health").await;
    assert_eq!(health["status"], json!("ok"));
    assert_eq!(health["plugins"][state], json!(1), "{health}");
    assert_eq!(health["plugins"]["running"], json!(2), "{health}");

    // From now on a request names the plugin as failed and does not call it, so it adds no time.
    for _ in 0..5 {
        let started = Instant::now();
        let data = lab.data().await;
        let took = started.elapsed();
        assert!(
            took < Duration::from_millis(200),
            "{plugin}: a broken plugin is not called: {took:?}"
        );
        let named = failure_reason(&data, plugin).unwrap_or_default();
        assert!(named.contains(state) || named.contains(says), "{data}");
        requests += 1;
    }

    // A call that needs a running plugin is refused, and the error says what to do.
    let clear = lab.request(Method::POST, "/admin/leaks/clear");
    let clear = Answer::of(clear.body(json!({"leak_type": plugin}).to_string())).await;
    assert_eq!(clear.status, 409, "{}", clear.text);
    assert_eq!(clear.error_code("clear"), "plugin_not_running");
    assert!(clear.text.contains("reset"), "{}", clear.text);

    // The other plugins received every request and were not restarted.
    for other in ["cache", "history"] {
        let now = lab.leak(other).await;
        assert_eq!(now["state"], json!("running"));
        assert_eq!(number(&now, "/count"), requests as f64, "{now}");
        assert_eq!(
            now["generation"], start["leaks"][other]["generation"],
            "{now}"
        );
    }

    let reset = lab.reset(plugin).await;
    assert_eq!(
        number(&reset, "/generation"),
        number(&status, "/generation") + 1.0
    );
    let fresh = lab.leak(plugin).await;
    assert_eq!(fresh["state"], json!("running"), "{fresh}");
    assert_eq!(fresh["enabled"], json!(true), "a reset keeps the settings");
    // The fresh instance runs the same code, so it fails again.
    wait_for_failure(&lab, plugin).await;
}

#[tokio::test]
async fn a_plugin_that_breaks_affects_no_other_plugin() {
    for (plugin, state, says) in [
        ("fixture-loops", "faulted", "within"),
        ("fixture-sleeps", "faulted", "within"),
        ("fixture-traps", "faulted", "told to panic"),
        ("fixture-recurses", "faulted", "stack"),
        ("fixture-hog", "exhausted", "memory"),
    ] {
        check_containment(plugin, state, says).await;
    }
}

#[tokio::test]
async fn a_plugin_at_its_own_memory_limit_affects_no_other_plugin() {
    let lab = Lab::with(&["cache", "history"]).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 262_144, "memory_limit_mb": 8});
    lab.configure("cache", settings).await;
    lab.enable("history").await;
    let (reason, requests) = wait_for_failure(&lab, "cache").await;
    assert!(reason.contains("memory"), "{reason}");
    assert!(
        (8..=40).contains(&requests),
        "8 MB hold about 28 requests: {requests}"
    );
    let cache = lab.leak("cache").await;
    assert_eq!(cache["state"], json!("exhausted"));
    assert!(number(&cache, "/peak_linear_memory_mb") <= 8.0, "{cache}");
    assert_eq!(
        number(&lab.leak("history").await, "/count"),
        requests as f64
    );
}

#[tokio::test]
async fn requests_for_a_failed_plugin_are_counted_as_unavailable() {
    let lab = Lab::with(&["cache"]).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 262_144, "memory_limit_mb": 2});
    lab.configure("cache", settings).await;
    wait_for_failure(&lab, "cache").await;
    lab.traffic(7).await;
    let scrape = Scrape::of(&lab).await;
    let count = |outcome: &str| {
        scrape
            .of_metric("leak_plugin_invocations_total")
            .find(|(labels, _)| labels["outcome"] == outcome)
            .map(|(_, value)| value)
    };
    assert_eq!(count("memory_limit"), Some(1.0));
    assert_eq!(count("unavailable"), Some(7.0));
}

#[tokio::test]
async fn a_fresh_instance_that_does_not_start_leaves_the_old_one_running() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(5).await;
    // Less than the initial memory of an instance.
    lab.configure("cache", json!({"memory_limit_mb": 1})).await;
    let before = lab.leak("cache").await;
    for (path, body) in [
        ("/admin/leaks/cache/reset", json!({})),
        (
            "/admin/leaks/cache",
            json!({"heap_profile": "off", "probability": 0.5}),
        ),
    ] {
        let answer = Answer::of(lab.request(Method::POST, path).json(&body)).await;
        assert_eq!(answer.status, 409, "{path}: {}", answer.text);
        assert_eq!(answer.error_code(path), "plugin_not_started");
        assert_eq!(lab.leak("cache").await, before, "{path}");
    }
    lab.clear("all").await;
    let collected = lab.post("/admin/gc", json!({})).await;
    assert_eq!(collected["gc_results"][0]["recycled"], false, "{collected}");
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
    lab.configure("cache", json!({"memory_limit_mb": null}))
        .await;
    let reset = lab.reset("cache").await;
    assert_eq!(reset["generation"], 2, "{reset}");
}

/// Holds whether the task of the request or the task of the plugin makes the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_output_of_a_plugin_is_logged_with_the_trace_of_its_request() {
    let lab = Lab::with(&["fixture-chatty"]).start().await;
    let settings = json!({"enabled": true, "lines": 1, "sink": "log"});
    lab.configure("fixture-chatty", settings).await;
    let traces: Vec<String> = (1..=40).map(|n| format!("{n:032x}")).collect();
    let mut burst = JoinSet::new();
    for trace in &traces {
        let request = lab.request(Method::GET, "/api/data");
        let parent = format!("00-{trace}-00f067aa0ba902b7-00");
        burst.spawn(request.header("traceparent", parent).send());
    }
    for answer in burst.join_all().await {
        assert!(answer.unwrap().status().is_success());
    }
    let output = lab.output();
    let printed = output.lines().filter(|line| line.contains(" guest: "));
    let printed: Vec<&str> = printed.collect();
    for trace in traces {
        let lines = printed.iter().filter(|line| line.contains(&trace)).count();
        assert_eq!(lines, 1, "{trace}: {output}");
    }
}

#[tokio::test]
async fn a_plugin_that_returns_an_error_keeps_running() {
    let lab = Lab::with(&["cache", "fixture-errs"]).start().await;
    lab.enable("cache").await;
    lab.enable("fixture-errs").await;
    wait_for_failure(&lab, "fixture-errs").await;
    lab.traffic(3).await;
    let status = lab.leak("fixture-errs").await;
    assert_eq!(status["state"], json!("running"), "{status}");
    assert_eq!(
        number(&status, "/generation"),
        number(&lab.leak("cache").await, "/generation")
    );
}

#[tokio::test]
async fn files_that_are_not_plugins_are_refused_and_the_others_run() {
    let lab = Lab::with(&["cache", "fixture-not-a-plugin"])
        .file("text.wasm", b"this is no wasm at all")
        .file("empty.wasm", b"")
        .file("notes.txt", b"not read by the host")
        .start()
        .await;
    let status = lab.get("/admin/leaks/status?all=true").await;
    let leaks = status["leaks"].as_object().unwrap();
    assert_eq!(leaks.keys().collect::<Vec<_>>(), ["cache"]);
    let output = lab.output();
    for refused in ["fixture-not-a-plugin.wasm", "text.wasm", "empty.wasm"] {
        assert!(
            output.contains(refused),
            "the log names {refused}: {output}"
        );
    }
    assert!(!output.contains("notes.txt"));
}

#[tokio::test]
async fn a_plugin_that_probes_its_environment_finds_nothing() {
    let lab = Lab::with(&["fixture-nosy"])
        .env("LAB_SECRET", "s3cret")
        .start()
        .await;
    lab.enable("fixture-nosy").await;
    lab.traffic(3).await;
    assert!(!lab.output().contains("s3cret"), "the environment is empty");
    let status = lab.leak("fixture-nosy").await;
    assert!(!status.to_string().contains("s3cret"), "{status}");
    assert_eq!(
        status["state"],
        json!("running"),
        "a denied call is an error, not a trap: {status}"
    );
}

#[tokio::test]
async fn a_plugin_that_floods_the_log_neither_slows_the_service_nor_fills_the_log() {
    let lab = Lab::with(&["cache", "fixture-chatty"]).start().await;
    lab.enable("fixture-chatty").await;
    for _ in 0..20 {
        let started = Instant::now();
        lab.data().await;
        assert!(started.elapsed() <= ANSWER_TIMEOUT);
    }
    let output = lab.output();
    assert!(
        output.contains("fixture-chatty"),
        "the log contains the plugin's output: {output}"
    );
    assert!(
        output.len() < 4 << 20,
        "the host limits the output: {} bytes",
        output.len()
    );
    let longest = output.lines().map(str::len).max().unwrap();
    assert!(longest <= 10 << 10, "the host cuts long lines: {longest}");
}
