//! What the lab says of its memory.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{LEAK, Type, busy_lab, check};
use crate::components::LAB;
use crate::lab::{Lab, MIB, number};

#[tokio::test]
async fn the_memory_of_the_process_and_of_the_plugins() {
    let lab = busy_lab().await;
    let memory = lab.get("/admin/memory").await;
    let process = [
        ("pid", Type::Count),
        ("rss_mb", Type::Number),
        ("vms_mb", Type::Number),
        ("percent", Type::Number),
        ("limit_mb", Type::NumberOrNull),
        ("reserved_mb", Type::Number),
    ];
    check("memory", &memory, "/process", &process);
    for leak in LAB {
        let plugin = [
            ("linear_memory_mb", Type::Number),
            ("peak_linear_memory_mb", Type::Number),
            ("pages", Type::Count),
            ("heap_live_mb", Type::NumberOrNull),
            ("heap_free_mb", Type::NumberOrNull),
            ("retained_mb", Type::Number),
            ("retained_objects", Type::Count),
            ("profiler_mb", Type::Number),
            ("state", Type::OneOf(&["running"])),
        ];
        check("memory", &memory, &format!("/plugins/{leak}"), &plugin);
        check("memory", &memory, &format!("/leaks/{leak}"), LEAK);
        let plugin = &memory["plugins"][leak];
        let (linear, pages) = (
            number(plugin, "/linear_memory_bytes"),
            number(plugin, "/pages"),
        );
        assert_eq!(linear, pages * 65536.0, "a page of wasm is 64 KiB");
        assert_eq!(plugin["retained_objects"], json!(50));
    }
    let forecast = [
        ("growth_bytes_per_second", Type::NumberOrNull),
        ("bytes_per_request", Type::NumberOrNull),
        ("seconds_to_limit", Type::NumberOrNull),
        ("window_seconds", Type::Number),
    ];
    check("memory", &memory, "/forecast", &forecast);
    assert!(!memory["forecast"]["confidence"].is_null(), "{memory}");

    // The first answer reads the plugins' symbols, which weigh something themselves.
    let reported = number(&lab.get("/admin/memory").await, "/process/rss_bytes");
    let resident = lab.resident_bytes();
    assert!(
        (resident - reported).abs() < 2.0 * MIB,
        "{reported} is near {resident}"
    );
}

#[tokio::test]
async fn the_ledger_adds_up() {
    let lab = busy_lab().await;
    let ledger = lab.get("/admin/memory").await["ledger"].clone();
    let parts = [
        "host_mb",
        "plugins_linear_mb",
        "profiler_mb",
        "code_mb",
        "unattributed_mb",
    ];
    let mut fields: Vec<_> = parts.iter().map(|part| (*part, Type::Number)).collect();
    fields.push(("rss_mb", Type::Number));
    check("ledger", &ledger, "", &fields);
    // There may be more parts than those that are promised; together they are everything.
    let bytes = ledger.as_object().unwrap().iter();
    let bytes = bytes.filter(|(name, _)| name.ends_with("_bytes") && *name != "rss_bytes");
    let sum: f64 = bytes.map(|(_, part)| part.as_f64().unwrap()).sum();
    assert_eq!(sum, number(&ledger, "/rss_bytes"), "{ledger}");
    assert!(number(&ledger, "/plugins_linear_bytes") > 0.0, "{ledger}");
}

#[tokio::test]
async fn the_ledger_counts_what_is_resident_and_not_what_is_granted() {
    let lab = Lab::with(&LAB).start().await;
    let read = async || {
        let memory = lab.get("/admin/memory").await;
        let granted: f64 = LAB
            .iter()
            .map(|leak| number(&memory, &format!("/plugins/{leak}/linear_memory_bytes")))
            .sum();
        let part = |part: &str| number(&memory, &format!("/ledger/{part}_bytes"));
        (granted, part("plugins_linear"), part("unattributed"))
    };
    let (granted, resident, unattributed) = read().await;
    assert!(
        resident > 0.0 && resident < granted / 2.0,
        "most of a fresh memory is a stack that nobody has touched: {resident} of {granted}"
    );
    assert!(unattributed > -MIB, "{unattributed}");
    lab.post(
        "/admin/leaks/cache",
        json!({"enabled": true, "payload_bytes": 1_048_576}),
    )
    .await;
    lab.traffic(20).await;
    // On a busy machine a reading is remembered for seconds.
    let started = Instant::now();
    loop {
        let (_, later, unattributed) = read().await;
        let gained = later - resident;
        if (gained - 20.0 * MIB).abs() < 2.0 * MIB && unattributed > -MIB {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "gained {gained}, unattributed {unattributed}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
