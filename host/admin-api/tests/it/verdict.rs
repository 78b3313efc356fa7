//! The verdict in `/admin/memory`, and the listings that leave out what is off.

use std::time::Duration;

use serde_json::{Value, json};

use super::contract::{Type, check};
use test_support::components::LAB;
use test_support::{TestHost, number};

/// The most lines of a first answer, as `jq` prints it.
const MAX_LINES: usize = 80;

/// A limit that no slow machine exceeds: the sampler needs some seconds.
const ATTEMPTS: usize = 120;

fn lines(answer: &Value) -> usize {
    serde_json::to_string_pretty(answer)
        .unwrap()
        .lines()
        .count()
}

/// Sends requests until the verdict is of this kind.
async fn verdict_of_kind(host: &TestHost, kind: &str) -> Value {
    for _ in 0..ATTEMPTS {
        host.traffic(10).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        let memory = host.get("/admin/memory").await;
        if memory["verdict"]["kind"] == json!(kind) {
            return memory;
        }
    }
    panic!("no {kind}: {}", host.get("/admin/memory").await["verdict"]);
}

#[tokio::test]
async fn the_verdict_names_the_leaking_line_and_is_calm_again_after_the_leak() {
    let host = TestHost::with(&LAB).start().await;
    let calm = host.get("/admin/memory").await;
    assert_eq!(calm["verdict"]["kind"], json!("none"));
    assert_eq!(calm["verdict"]["severity"], json!("calm"));
    assert_eq!(calm["forecast"]["seconds_to_limit"], json!(null));
    assert_eq!(number(&calm, "/forecast/growth_bytes_per_second"), 0.0);

    host.enable("cache").await;
    let memory = verdict_of_kind(&host, "guest_leak").await;
    let fields = [
        ("kind", Type::OneOf(&["guest_leak"])),
        ("severity", Type::OneOf(&["leak", "critical"])),
        ("sentence", Type::Text),
        ("plugin", Type::OneOf(&["cache"])),
        ("location", Type::Text),
        ("bytes_per_request", Type::Number),
        ("requests_per_second", Type::Number),
        ("growth_bytes_per_second", Type::Number),
        ("seconds_to_limit", Type::NumberOrNull),
        ("evidence", Type::List),
    ];
    check("verdict", &memory, "/verdict", &fields);
    let verdict = &memory["verdict"];
    let sentence = verdict["sentence"].as_str().unwrap();
    let location = verdict["location"].as_str().unwrap();
    assert!(
        location.starts_with("plugins/cache/src/lib.rs:"),
        "{verdict}"
    );
    let start = "cache leaks 5.0 KiB per request, `plugins/cache/src/lib.rs:";
    assert!(sentence.starts_with(start), "{verdict}");
    let declared = number(&host.leak("cache").await, "/settings/payload_bytes");
    let found = number(verdict, "/bytes_per_request");
    assert!((found - declared).abs() < declared * 0.1, "{verdict}");

    host.post("/admin/leaks/cache", json!({"enabled": false}))
        .await;
    let memory = verdict_of_kind(&host, "none").await;
    assert_eq!(memory["verdict"]["severity"], json!("calm"));
}

#[tokio::test]
async fn the_fixed_variant_gets_no_leak() {
    let host = TestHost::with(&["cache"]).start().await;
    // Few entries, so that the cache is full at once.
    let settings = json!({"enabled": true, "variant": "fixed", "payload_bytes": 65536});
    host.post("/admin/leaks/cache", settings).await;
    host.traffic(2000).await;
    for _ in 0..12 {
        host.traffic(20).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let memory = host.get("/admin/memory").await;
    assert_eq!(memory["verdict"]["severity"], json!("calm"), "{memory:#}");
}

#[tokio::test]
async fn the_first_answers_are_short() {
    let plugins = ["cache", "history", "listeners", "sessions", "warm-up"];
    let host = TestHost::with(&plugins).start().await;
    let status = host.get("/admin/leaks/status").await;
    let memory = host.get("/admin/memory").await;
    assert!(lines(&status) <= MAX_LINES, "{status:#}");
    assert!(lines(&memory) <= MAX_LINES, "{memory:#}");
    let names: Vec<_> = status["leaks"].as_object().unwrap().keys().collect();
    assert_eq!(names, LAB, "the leaks of the exercises");
    assert!(
        status["more"]
            .as_str()
            .unwrap()
            .starts_with("2 that are off")
    );
    assert!(
        memory["more"]
            .as_str()
            .unwrap()
            .starts_with("5 that are off")
    );

    for path in ["/admin/leaks/status?all=true", "/admin/memory?all=true"] {
        let all = host.get(path).await;
        assert_eq!(
            all["leaks"].as_object().unwrap().len(),
            plugins.len(),
            "{path}"
        );
        assert!(all["leaks"]["sessions"]["settings"]["payload_bytes"].is_u64());
        assert_eq!(all["more"], json!(null));
    }
    assert!(host.leak("cache").await["settings"]["payload_bytes"].is_u64());
}

#[tokio::test]
async fn a_leak_that_is_in_use_is_listed() {
    let host = TestHost::with(&["cache", "sessions", "warm-up"])
        .start()
        .await;
    host.enable("warm-up").await;
    host.post("/admin/leaks/sessions", json!({"payload_bytes": 2048}))
        .await;
    for path in ["/admin/leaks/status", "/admin/memory"] {
        let answer = host.get(path).await;
        assert_eq!(answer["leaks"]["warm-up"]["enabled"], json!(true), "{path}");
        let sessions = &answer["leaks"]["sessions"]["settings"];
        assert_eq!(
            sessions["payload_bytes"],
            json!(2048),
            "{path}: changed settings are shown"
        );
    }
    let memory = host.get("/admin/memory").await;
    assert!(memory["plugins"]["warm-up"].is_object() && memory["plugins"]["cache"].is_null());

    let catalogue = host.get("/admin/catalogue").await;
    let names = |group: &str| -> Vec<Value> {
        let group = catalogue[group].as_array().unwrap().iter();
        group.map(|entry| entry["name"].clone()).collect()
    };
    assert_eq!(names("exercises"), [json!("cache")]);
    assert_eq!(names("patterns"), [json!("sessions")]);
    assert_eq!(names("decoys"), [json!("warm-up")]);
    assert_eq!(catalogue["decoys"][0]["enabled"], json!(true));
}

#[tokio::test]
async fn gc_says_what_is_still_resident() {
    let host = TestHost::with(&["cache"]).start().await;
    let collected = host.post("/admin/gc", json!({})).await;
    let fields = [
        ("above_start_mb", Type::Number),
        ("above_start_bytes", Type::Number),
        ("why", Type::Text),
    ];
    check("gc", &collected, "/still_resident", &fields);
    assert!(
        collected["still_resident"]["parts"].is_object(),
        "{collected}"
    );
}
