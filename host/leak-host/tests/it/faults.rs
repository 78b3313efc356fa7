//! Plugins that misbehave: each is a component built from `plugins/fixtures`, and none of them may
//! be noticed by anybody but itself.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::lab::{Answer, Lab, failures, number};
use crate::metrics::scrape::Scrape;

/// The deadline of one call into a plugin, and what a busy machine may add to it.
const ANSWERS_WITHIN: Duration = Duration::from_millis(250 + 750);

/// The entry of `leaks_failed` for this plugin.
fn failure(data: &Value, plugin: &str) -> Option<String> {
    let entry = failures(data)
        .iter()
        .find(|failed| failed["leak"] == json!(plugin))?;
    Some(entry["reason"].as_str().expect("a reason").to_owned())
}

/// Sends requests until the plugin has failed; each must be answered in time whatever it does.
async fn until_it_fails(lab: &Lab, plugin: &str) -> (String, usize) {
    for request in 1..=200 {
        let started = Instant::now();
        let data = lab.data().await;
        let took = started.elapsed();
        assert!(
            took <= ANSWERS_WITHIN,
            "{plugin} holds up the service for {took:?}"
        );
        if let Some(reason) = failure(&data, plugin) {
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

/// Waits until the status says that the plugin is not running any more.
async fn until_retired(lab: &Lab, plugin: &str) -> Value {
    let started = Instant::now();
    loop {
        let status = lab.leak(plugin).await;
        if status["state"] != json!("running") {
            return status;
        }
        assert!(
            started.elapsed() < ANSWERS_WITHIN,
            "it is not retired: {status}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What has to hold for every plugin that breaks.
async fn is_contained(plugin: &str, state: &str, says: &str) {
    let lab = Lab::with(&["cache", "history", plugin]).start().await;
    for leak in ["cache", "history", plugin] {
        lab.enable(leak).await;
    }
    let start = lab.get("/admin/leaks/status").await;
    let (reason, mut requests) = until_it_fails(&lab, plugin).await;
    assert!(reason.contains(says), "{plugin}: the reason is {reason:?}");

    // The service may have given up on the call before the call itself was ended.
    let status = until_retired(&lab, plugin).await;
    assert_eq!(status["state"], json!(state), "{status}");
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains(says), "{plugin}: the reason is {reason:?}");
    assert!(!reason.contains("wasm backtrace"), "one sentence: {reason}");
    let health = lab.get("/health").await;
    assert_eq!(health["status"], json!("ok"));
    assert_eq!(health["plugins"][state], json!(1), "{health}");
    assert_eq!(health["plugins"]["running"], json!(2), "{health}");

    // From now on it is not called, so it costs nothing; but it is still named.
    for _ in 0..5 {
        let started = Instant::now();
        let data = lab.data().await;
        let took = started.elapsed();
        assert!(
            took < Duration::from_millis(200),
            "a broken plugin is not called: {took:?}"
        );
        let named = failure(&data, plugin).unwrap_or_default();
        assert!(named.contains(state) || named.contains(says), "{data}");
        requests += 1;
    }

    // What needs a running plugin is refused, and says what to do.
    let clear = lab.request(Method::POST, "/admin/leaks/clear");
    let clear = Answer::of(clear.body(json!({"leak_type": plugin}).to_string())).await;
    assert_eq!(clear.status, 409, "{}", clear.text);
    assert_eq!(clear.error_code("clear"), "plugin_not_running");
    assert!(clear.text.contains("reset"), "{}", clear.text);

    // The others never noticed.
    for other in ["cache", "history"] {
        let now = lab.leak(other).await;
        assert_eq!(now["state"], json!("running"));
        assert_eq!(number(&now, "/count"), requests as f64, "{now}");
        assert_eq!(
            now["generation"], start["leaks"][other]["generation"],
            "{now}"
        );
    }

    let reset = lab
        .post(&format!("/admin/leaks/{plugin}/reset"), json!({}))
        .await;
    assert_eq!(
        number(&reset, "/generation"),
        number(&status, "/generation") + 1.0
    );
    let revived = lab.leak(plugin).await;
    assert_eq!(revived["state"], json!("running"), "{revived}");
    assert_eq!(revived["enabled"], json!(true), "the same settings");
    // It is the same plugin, so in the end it does the same again.
    until_it_fails(&lab, plugin).await;
}

#[tokio::test]
async fn one_that_loops_forever() {
    is_contained("fixture-loops", "faulted", "within").await;
}

#[tokio::test]
async fn one_that_sleeps() {
    is_contained("fixture-sleeps", "faulted", "within").await;
}

#[tokio::test]
async fn one_that_traps() {
    is_contained("fixture-traps", "faulted", "told to panic").await;
}

#[tokio::test]
async fn one_that_recurses_without_end() {
    is_contained("fixture-recurses", "faulted", "stack").await;
}

#[tokio::test]
async fn one_that_wants_all_the_memory_there_is() {
    is_contained("fixture-hog", "exhausted", "memory").await;
}

#[tokio::test]
async fn a_memory_limit_of_its_own_exhausts_a_plugin_and_nobody_else() {
    let lab = Lab::with(&["cache", "history"]).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 262_144, "memory_limit_mb": 8});
    lab.post("/admin/leaks/cache", settings).await;
    lab.enable("history").await;
    let (reason, requests) = until_it_fails(&lab, "cache").await;
    assert!(reason.contains("memory"), "{reason}");
    assert!(
        (8..=40).contains(&requests),
        "8 MB are about 28 requests: {requests}"
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
async fn calls_to_a_dead_plugin_are_counted() {
    let lab = Lab::with(&["cache"]).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 262_144, "memory_limit_mb": 2});
    lab.post("/admin/leaks/cache", settings).await;
    until_it_fails(&lab, "cache").await;
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
async fn a_fresh_instance_that_does_not_start_changes_nothing() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(5).await;
    // Less than an instance begins with.
    lab.post("/admin/leaks/cache", json!({"memory_limit_mb": 1}))
        .await;
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
    lab.post("/admin/leaks/clear", json!({})).await;
    let collected = lab.post("/admin/gc", json!({})).await;
    assert_eq!(collected["gc_results"][0]["recycled"], false, "{collected}");
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
    lab.post("/admin/leaks/cache", json!({"memory_limit_mb": null}))
        .await;
    let reset = lab.post("/admin/leaks/cache/reset", json!({})).await;
    assert_eq!(reset["generation"], 2, "{reset}");
}

/// Whether the request's own task makes the call or the plugin's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_prints_has_the_trace_of_the_request() {
    let lab = Lab::with(&["fixture-chatty"]).start().await;
    let settings = json!({"enabled": true, "lines": 1, "sink": "log"});
    lab.post("/admin/leaks/fixture-chatty", settings).await;
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
        let named = printed.iter().filter(|line| line.contains(&trace)).count();
        assert_eq!(named, 1, "{trace}: {output}");
    }
}

#[tokio::test]
async fn one_that_answers_with_an_error_stays_in_service() {
    let lab = Lab::with(&["cache", "fixture-errs"]).start().await;
    lab.enable("cache").await;
    lab.enable("fixture-errs").await;
    until_it_fails(&lab, "fixture-errs").await;
    lab.traffic(3).await;
    let status = lab.leak("fixture-errs").await;
    assert_eq!(
        status["state"],
        json!("running"),
        "an error is an answer: {status}"
    );
    assert_eq!(
        number(&status, "/generation"),
        number(&lab.leak("cache").await, "/generation")
    );
}

#[tokio::test]
async fn a_component_that_is_no_plugin_is_refused_and_the_others_run() {
    let lab = Lab::with(&["cache", "fixture-not-a-plugin"])
        .file("text.wasm", b"this is no wasm at all")
        .file("empty.wasm", b"")
        .file("notes.txt", b"not looked at")
        .start()
        .await;
    let status = lab.get("/admin/leaks/status").await;
    assert_eq!(
        status["leaks"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["cache"]
    );
    let output = lab.output();
    for refused in ["fixture-not-a-plugin.wasm", "text.wasm", "empty.wasm"] {
        assert!(
            output.contains(refused),
            "{refused} is named in the log: {output}"
        );
    }
    assert!(!output.contains("notes.txt"));
}

#[tokio::test]
async fn one_that_pries_finds_nothing() {
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
        "it is told no, not ended: {status}"
    );
}

#[tokio::test]
async fn one_that_floods_the_log_neither_slows_the_service_nor_fills_the_log() {
    let lab = Lab::with(&["cache", "fixture-chatty"]).start().await;
    lab.enable("fixture-chatty").await;
    for _ in 0..20 {
        let started = Instant::now();
        lab.data().await;
        assert!(started.elapsed() <= ANSWERS_WITHIN);
    }
    let output = lab.output();
    assert!(
        output.contains("fixture-chatty"),
        "its output goes to the log: {output}"
    );
    assert!(
        output.len() < 4 << 20,
        "floods are limited: {} bytes",
        output.len()
    );
    let longest = output.lines().map(str::len).max().unwrap();
    assert!(longest <= 10 << 10, "long lines are cut: {longest}");
}

/// Waits until the last failure has source lines, and gives it back.
async fn located_failure(lab: &Lab, plugin: &str) -> Value {
    let started = Instant::now();
    loop {
        let info = lab.get(&format!("/admin/plugins/{plugin}")).await;
        let failure = info["last_failure"].clone();
        let mut frames = failure["backtrace"].as_array().into_iter().flatten();
        if frames.any(|frame| frame["location"].is_string()) {
            return failure;
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "no source lines: {info}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_trap_is_shown_with_its_source_lines() {
    for (profile, kind) in [("exact", "panic"), ("off", "out_of_bounds")] {
        let plugin = "fixture-traps";
        let lab = Lab::with(&[plugin]).start().await;
        lab.post(
            &format!("/admin/leaks/{plugin}"),
            json!({"heap_profile": profile}),
        )
        .await;
        lab.post(
            &format!("/admin/leaks/{plugin}"),
            json!({"enabled": true, "kind": kind, "after_requests": 1}),
        )
        .await;
        until_it_fails(&lab, plugin).await;
        let failure = located_failure(&lab, plugin).await;
        assert!(
            failure["when"].as_str().unwrap().ends_with('Z'),
            "{failure}"
        );
        let frames = failure["backtrace"].as_array().unwrap();
        let own = frames.iter().find(|frame| {
            let location = frame["location"].as_str().unwrap_or_default();
            location.starts_with("plugins/fixtures/fixture-traps/src/lib.rs:")
        });
        let own = own.unwrap_or_else(|| panic!("{profile}: no own line in {failure}"));
        assert!(
            own["function"].as_str().unwrap().contains("trap")
                || own["function"]
                    .as_str()
                    .unwrap()
                    .contains("read_out_of_bounds"),
            "{profile}: {own}"
        );
        // The status says the same, and so does the log.
        let status = lab.leak(plugin).await;
        assert_eq!(status["last_failure"], failure, "{profile}");
        let line = own["location"].as_str().unwrap();
        assert!(
            status["backtrace"].to_string().contains(line),
            "{profile}: {status}"
        );
        let asked = Instant::now();
        while !lab.output().contains(line) {
            let waited = asked.elapsed();
            assert!(
                waited < Duration::from_secs(30),
                "{profile}: it is in the log"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        // A reset starts anew and does not forget.
        lab.post(&format!("/admin/leaks/{plugin}/reset"), json!({}))
            .await;
        let status = lab.leak(plugin).await;
        assert_eq!(status["state"], json!("running"), "{profile}");
        assert_eq!(status["last_failure"], failure, "{profile}");
        assert!(status["backtrace"].is_null(), "{profile}: {status}");
    }
}
