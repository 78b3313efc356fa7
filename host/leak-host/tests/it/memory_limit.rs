//! `--memory-limit`: without a container, the host exits at the limit with the kernel's exit code.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::components::LAB;
use crate::lab::{Lab, MIB, assert_close, number};

/// A lab with the three leaks and a memory limit.
async fn with_limit(limit: &str) -> Lab {
    let lab = Lab::with(&LAB).args(["--memory-limit", limit]);
    lab.start().await
}

#[tokio::test]
async fn past_the_limit_the_host_logs_the_reason_and_exits_with_137() {
    let mut lab = with_limit("64MiB").await;
    let settings = json!({"enabled": true, "payload_bytes": 256 * 1024});
    lab.configure("cache", settings).await;
    let started = Instant::now();
    // 64 MiB are 256 requests. A request fails once the host has exited.
    for _ in 0..2000 {
        if lab.http().get(lab.url("/api/data")).send().await.is_err() {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the host enforces the limit"
        );
    }
    let status = lab.exits_within(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(137), "{}", lab.output());
    let output = lab.output();
    let last = output
        .lines()
        .rfind(|line| line.contains("memory limit exceeded"))
        .unwrap_or_else(|| panic!("the log does not say why: {output}"));
    assert!(last.contains("64.0 MiB") && last.contains("137"), "{last}");
    // This counts lines with the whole phrase, because a timestamp can contain the digits.
    let lines = output
        .lines()
        .filter(|line| line.contains("limit exceeded"))
        .count();
    assert_eq!(lines, 1, "{output}");
}

#[tokio::test]
async fn percentages_refer_to_the_memory_limit() {
    let lab = with_limit("256MiB").await;
    let memory = lab.get("/admin/memory").await;
    assert_eq!(number(&memory, "/process/limit_mb"), 256.0);
    let percent = 100.0 * number(&memory, "/process/rss_mb") / 256.0;
    assert_close(
        "percent",
        number(&memory, "/process/percent"),
        percent,
        0.02,
    );
    let status = lab.get("/admin/leaks/status").await;
    assert_eq!(number(&status, "/memory/limit_mb"), 256.0);
    let used = number(&status, "/memory/used_percent_of_limit");
    assert_close(
        "used",
        used,
        100.0 * number(&status, "/memory/rss_mb") / 256.0,
        0.02,
    );
    let metrics = lab.metrics_page().await;
    assert!(
        metrics
            .lines()
            .any(|line| line == "leak_memory_limit_bytes 268435456"),
        "the metrics contain the limit: {metrics}"
    );
}

/// The question of exercise 2: at this rate, how long until the limit?
#[tokio::test]
async fn the_forecast_predicts_the_time_to_the_limit() {
    let lab = with_limit("1024MiB").await;
    let settings = json!({"enabled": true, "payload_bytes": 65536});
    lab.configure("cache", settings).await;
    let started = Instant::now();
    let mut requests = 0.0;
    let resident = lab.resident_bytes();
    while started.elapsed() < Duration::from_secs(12) {
        lab.data().await;
        requests += 1.0;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let memory = lab.get("/admin/memory").await;
    let rate = (lab.resident_bytes() - resident) / started.elapsed().as_secs_f64();
    let forecast = &memory["forecast"];
    assert_close(
        "growth",
        number(forecast, "/growth_bytes_per_second"),
        rate,
        0.30,
    );
    assert_close(
        "per request",
        number(forecast, "/process_bytes_per_request"),
        65536.0,
        0.25,
    );
    let left = 1024.0 * MIB - lab.resident_bytes();
    let seconds = number(forecast, "/seconds_to_limit");
    assert_close("time left", seconds, left / rate, 0.40);
    assert!(
        requests > 100.0,
        "too few requests for a measurement: {requests}"
    );
}

#[tokio::test]
async fn without_a_limit_the_forecast_has_no_time() {
    let lab = Lab::with(&LAB).start().await;
    let memory = lab.get("/admin/memory").await;
    if memory["process"]["limit_mb"].is_null() {
        assert!(memory["forecast"]["seconds_to_limit"].is_null(), "{memory}");
        assert!(
            memory["process"]["percent"].is_number(),
            "the share of the machine's memory: {memory}"
        );
    } else {
        // The tests run in a container with a memory limit.
        assert!(number(&memory, "/process/limit_mb") > 0.0);
    }
}
