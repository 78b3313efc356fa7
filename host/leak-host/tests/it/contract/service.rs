//! What the service says: health, data, its own description and its plugins.

use reqwest::Method;
use serde_json::json;

use super::{Type, busy_lab, check};
use crate::components::LAB;
use crate::lab::{Answer, Lab};

#[tokio::test]
async fn the_service() {
    let lab = busy_lab().await;
    let health = lab.get("/health").await;
    let fields = [
        ("status", Type::OneOf(&["ok"])),
        ("service", Type::Text),
        ("version", Type::Text),
        ("plugins/running", Type::Count),
        ("plugins/exhausted", Type::Count),
        ("plugins/faulted", Type::Count),
    ];
    check("/health", &health, "", &fields);
    assert_eq!(health["plugins"]["running"], json!(3));

    let data = lab.data().await;
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
    let other = lab.data().await;
    assert_ne!(data["request_id"], other["request_id"]);
    assert_ne!(data["trace_id"], other["trace_id"]);
}

#[tokio::test]
async fn the_service_describes_itself() {
    let lab = Lab::with(&[]).start().await;
    let description = lab.get("/openapi.json").await;
    assert!(
        description["openapi"].as_str().unwrap().starts_with("3."),
        "{description}"
    );
    let calls = [
        ("/health", "get"),
        ("/api/data", "get"),
        ("/metrics", "get"),
        ("/admin/leaks/status", "get"),
        ("/admin/leaks/{name}", "post"),
        ("/admin/leaks/clear", "post"),
        ("/admin/leaks/{name}/reset", "post"),
        ("/admin/reset", "post"),
        ("/admin/gc", "post"),
        ("/admin/memory", "get"),
        ("/admin/memory/source", "get"),
        ("/admin/plugins", "get"),
        ("/admin/plugins/{name}", "get"),
    ];
    for (path, method) in calls {
        let call = &description["paths"][path][method];
        assert!(
            call["responses"]["200"].is_object(),
            "{method} {path} is described: {call}"
        );
    }
    let docs = Answer::of(lab.request(Method::GET, "/docs")).await;
    assert_eq!(docs.status, 200);
    assert!(docs.content_type.starts_with("text/html"), "{docs:?}");
    assert!(
        !docs.text.contains("https://"),
        "the page needs nothing from elsewhere"
    );
}

#[tokio::test]
async fn the_plugins() {
    let lab = busy_lab().await;
    let list = lab.get("/admin/plugins").await;
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
        let one = lab
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
