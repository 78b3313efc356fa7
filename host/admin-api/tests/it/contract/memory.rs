//! The memory of the process and of the plugins.

use serde_json::json;

use super::{LEAK, Type, busy_host, check};
use test_support::components::LAB;
use test_support::number;

#[tokio::test]
async fn memory_has_every_field_of_the_process_and_the_plugins() {
    let host = busy_host().await;
    let memory = host.get("/admin/memory?all=true").await;
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
        assert_eq!(linear, pages * 65536.0, "a page has 64 KiB");
        assert_eq!(plugin["retained_objects"], json!(50));
    }
    let forecast = [
        ("growth_bytes_per_second", Type::NumberOrNull),
        ("process_bytes_per_request", Type::NumberOrNull),
        ("seconds_to_limit", Type::NumberOrNull),
        ("window_seconds", Type::Number),
    ];
    check("memory", &memory, "/forecast", &forecast);
    assert!(!memory["forecast"]["confidence"].is_null(), "{memory}");
}

#[tokio::test]
async fn the_ledger_adds_up() {
    let host = busy_host().await;
    let ledger = host.get("/admin/memory").await["ledger"].clone();
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
    // There may be more parts than the promised ones. All parts together are the resident memory.
    let bytes = ledger.as_object().unwrap().iter();
    let bytes = bytes.filter(|(name, _)| name.ends_with("_bytes") && *name != "rss_bytes");
    let sum: f64 = bytes.map(|(_, part)| part.as_f64().unwrap()).sum();
    assert_eq!(sum, number(&ledger, "/rss_bytes"), "{ledger}");
    assert!(number(&ledger, "/plugins_linear_bytes") > 0.0, "{ledger}");
}
