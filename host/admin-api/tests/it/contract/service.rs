//! Health, data, and the list of plugins.

use serde_json::json;

use super::{Type, busy_host, check};
use test_support::components::LAB;

#[tokio::test]
async fn health_and_data_have_every_field() {
    let host = busy_host().await;
    let health = host.get("/health").await;
    let fields = [
        ("status", Type::OneOf(&["ok"])),
        ("service", Type::Text),
        ("version", Type::Text),
        ("plugins/running", Type::Count),
        ("plugins/exhausted", Type::Count),
        ("plugins/faulted", Type::Count),
        ("loading", Type::List),
    ];
    check(
        "/health/ready",
        &host.get("/health/ready").await,
        "",
        &fields,
    );
    check("/health", &health, "", &fields);
    assert_eq!(health["plugins"]["running"], json!(3));

    let data = host.data().await;
    let fields = [
        ("service", Type::Text),
        ("request_id", Type::Uuid),
        ("trace_id", Type::TraceId),
        ("duration_ms", Type::Number),
        ("leaks_triggered", Type::List),
        ("leaks_failed", Type::List),
        ("data/message", Type::Text),
        ("data/timestamp", Type::Time),
    ];
    check("/api/data", &data, "", &fields);
    let other = host.data().await;
    assert_ne!(data["request_id"], other["request_id"]);
    assert_ne!(data["trace_id"], other["trace_id"]);
}

#[tokio::test]
async fn the_plugin_list_has_every_field_and_setting() {
    let host = busy_host().await;
    let list = host.get("/admin/plugins").await;
    let plugins = list
        .as_array()
        .or_else(|| list["plugins"].as_array())
        .expect("a list");
    assert_eq!(plugins.len(), 3, "{list}");
    for plugin in plugins {
        let fields = [
            ("id", Type::OneOf(&LAB)),
            ("version", Type::Text),
            ("description", Type::Text),
            ("digest", Type::Text),
            ("imports", Type::List),
            ("settings", Type::List),
            ("state", Type::OneOf(&["running"])),
        ];
        check("plugins", plugin, "", &fields);
        let one = host
            .get(&format!(
                "/admin/plugins/{}",
                plugin["id"].as_str().unwrap()
            ))
            .await;
        assert_eq!(one["digest"], plugin["digest"]);
        let settings = plugin["settings"].as_array().unwrap();
        for setting in settings {
            check(
                "setting",
                setting,
                "",
                &[("name", Type::Text), ("type", Type::Text)],
            );
            assert!(setting.get("default").is_some(), "{setting}");
        }
        let names: Vec<_> = settings
            .iter()
            .filter_map(|setting| setting["name"].as_str())
            .collect();
        for name in [
            "variant",
            "payload_bytes",
            "probability",
            "max_mb",
            "ttl_seconds",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        let imports = plugin["imports"].to_string();
        assert!(
            !imports.contains("sockets") && !imports.contains("http"),
            "{imports}"
        );
    }
}
