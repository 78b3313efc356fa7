//! The status of leaks, and the calls that change them.

use serde_json::json;

use super::{LEAK, Type, busy_host, check};
use test_support::components::LAB;
use test_support::{TestHost, number};

#[tokio::test]
async fn the_status_has_every_field_of_every_leak() {
    let host = busy_host().await;
    let status = host.get("/admin/leaks/status?all=true").await;
    assert_eq!(status["leaks"].as_object().unwrap().len(), 3);
    for leak in LAB {
        check("status", &status, &format!("/leaks/{leak}"), LEAK);
        let leak = &status["leaks"][leak];
        assert_eq!(leak["count"], leak["entries"], "the same number");
        assert_eq!(leak["count"], json!(50));
        assert_eq!(leak["variant"], leak["settings"]["variant"]);
    }
    let memory = [
        ("rss_mb", Type::Number),
        ("vms_mb", Type::Number),
        ("growth_since_start_mb", Type::Number),
        ("limit_mb", Type::NumberOrNull),
        ("used_percent_of_limit", Type::NumberOrNull),
    ];
    check("status", &status, "/memory", &memory);

    // The short answer has the same fields, without default settings and absent values.
    let short = host.get("/admin/leaks/status").await;
    check("short status", &short, "/memory", &memory);
    let absent = ["active", "next_change_in_seconds", "expires_at"];
    let listed = |field: &str| !field.starts_with("settings/") && !absent.contains(&field);
    let fields: Vec<_> = LEAK.iter().filter(|(field, _)| listed(field)).collect();
    let fields: Vec<_> = fields.into_iter().copied().collect();
    for leak in LAB {
        check("short status", &short, &format!("/leaks/{leak}"), &fields);
        assert_eq!(short["leaks"][leak]["settings"], json!({}));
    }
    host.post(
        "/admin/leaks/cache",
        json!({"probability": 0.5, "ttl_seconds": 60}),
    )
    .await;
    let changed = host.leak("cache").await;
    let short = host.get("/admin/leaks/status").await["leaks"]["cache"].clone();
    let settings = json!({"probability": 0.5, "ttl_seconds": 60.0});
    assert_eq!(short["settings"], settings, "{short}");
    assert_eq!(short["expires_at"], changed["expires_at"]);
    let schedule = json!({"enabled": true, "start_after_seconds": 300});
    host.post("/admin/leaks/cache", schedule).await;
    let short = host.get("/admin/leaks/status").await["leaks"]["cache"].clone();
    assert_eq!(short["active"], json!(false), "{short}");
    assert!(short["next_change_in_seconds"].is_number(), "{short}");
}

#[tokio::test]
async fn the_payload_defaults_are_those_of_the_exercises() {
    let host = TestHost::with(&LAB).start().await;
    for (leak, payload) in [("cache", 5.0 * 1024.0), ("listeners", 7.0 * 1024.0)] {
        let settings = host.leak(leak).await["settings"].clone();
        let declared = number(&settings, "/payload_bytes");
        assert!(
            (declared - payload).abs() <= payload * 0.1,
            "{leak}: about {payload}: {settings}"
        );
        assert_eq!(number(&settings, "/probability"), 1.0);
        assert_eq!(settings["variant"], json!("leaky"));
    }
}

#[tokio::test]
async fn switching_and_clearing_answer_with_every_field() {
    let host = busy_host().await;
    let switched = host
        .post("/admin/leaks/cache", json!({"enabled": true}))
        .await;
    let fields = [
        ("leak", Type::OneOf(&["cache"])),
        ("enabled", Type::Boolean),
        ("description", Type::Text),
        ("settings/payload_bytes", Type::Count),
    ];
    check("POST leak", &switched, "", &fields);

    for (leak, removed) in [
        ("cache", "entries_removed"),
        ("listeners", "callbacks_removed"),
        ("history", "records_removed"),
    ] {
        let cleared = host
            .post("/admin/leaks/clear", json!({"leak_type": leak}))
            .await;
        check(
            "clear",
            &cleared,
            "",
            &[(removed, Type::Count), ("freed_mb", Type::Number)],
        );
        assert_eq!(cleared["cleared"], json!(leak));
        assert_eq!(cleared[removed], json!(50));
    }
    host.traffic(1).await;
    let cleared = host.post("/admin/leaks/clear", json!({})).await;
    let fields = [
        ("cleared", Type::OneOf(&["all"])),
        ("removed/cache", Type::Count),
        ("removed/listeners", Type::Count),
        ("removed/history", Type::Count),
        ("total_removed", Type::Count),
        ("freed_mb", Type::Number),
    ];
    check("clear all", &cleared, "", &fields);
    assert_eq!(cleared["total_removed"], json!(3));
}

#[tokio::test]
async fn clearing_frees_the_guests_heap_but_not_its_linear_memory() {
    let host = TestHost::with(&LAB).start().await;
    host.post(
        "/admin/leaks/cache",
        json!({"enabled": true, "payload_bytes": 65536}),
    )
    .await;
    host.traffic(100).await;
    let before = host.leak("cache").await;
    let cleared = host
        .post("/admin/leaks/clear", json!({"leak_type": "cache"}))
        .await;
    assert_eq!(cleared["freed_bytes"], before["estimated_size_bytes"]);
    let after = host.leak("cache").await;
    assert_eq!(after["linear_memory_bytes"], before["linear_memory_bytes"]);
    assert_eq!(after["generation"], before["generation"]);
    assert_eq!(after["enabled"], json!(true));
}

#[tokio::test]
async fn resetting_a_leak_keeps_only_its_settings() {
    let host = TestHost::with(&LAB).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 65536, "probability": 1.0});
    host.post("/admin/leaks/cache", settings).await;
    host.traffic(100).await;
    let before = host.leak("cache").await;
    let reset = host.post("/admin/leaks/cache/reset", json!({})).await;
    let fields = [
        ("leak", Type::OneOf(&["cache"])),
        ("generation", Type::Count),
        ("memory_before_mb", Type::Number),
        ("memory_after_mb", Type::Number),
        ("freed_mb", Type::Number),
    ];
    check("reset", &reset, "", &fields);
    assert_eq!(
        number(&reset, "/generation"),
        number(&before, "/generation") + 1.0
    );
    let freed = number(&reset, "/memory_before_bytes") - number(&reset, "/memory_after_bytes");
    assert_eq!(number(&reset, "/freed_bytes"), freed);
    let after = host.leak("cache").await;
    assert_eq!(after["settings"], before["settings"]);
    assert_eq!(after["enabled"], json!(true));
    assert_eq!(after["count"], json!(0));
    assert!(number(&after, "/linear_memory_bytes") < number(&before, "/linear_memory_bytes"));
    assert_eq!(
        host.data().await["leaks_triggered"],
        json!(["cache"]),
        "the fresh instance leaks too"
    );
}

#[tokio::test]
async fn resetting_everything_restores_the_state_at_the_start() {
    let host = TestHost::with(&LAB).start().await;
    let start = host.get("/admin/leaks/status").await;
    for leak in LAB {
        let settings =
            json!({"enabled": true, "payload_bytes": 3000, "max_mb": 10, "ttl_seconds": 600});
        host.post(&format!("/admin/leaks/{leak}"), settings).await;
    }
    host.traffic(20).await;
    assert!(
        Type::Time.fits(&host.leak("cache").await["expires_at"]),
        "a leak with a ttl has an end"
    );
    host.post("/admin/reset", json!({})).await;
    let after = host.get("/admin/leaks/status").await;
    for leak in LAB {
        for field in [
            "enabled",
            "count",
            "settings",
            "variant",
            "state",
            "linear_memory_bytes",
            "expires_at",
        ] {
            assert_eq!(
                after["leaks"][leak][field], start["leaks"][leak][field],
                "{leak} {field}"
            );
        }
    }
}

#[tokio::test]
async fn gc_recycles_only_plugins_that_retain_nothing() {
    let host = busy_host().await;
    host.post("/admin/leaks/clear", json!({"leak_type": "cache"}))
        .await;
    let collected = host.post("/admin/gc", json!({})).await;
    let fields = [
        ("gc_results", Type::List),
        ("memory_before_mb", Type::Number),
        ("memory_after_mb", Type::Number),
        ("freed_mb", Type::Number),
        ("note", Type::Text),
    ];
    check("gc", &collected, "", &fields);
    let results = collected["gc_results"].as_array().unwrap();
    assert_eq!(results.len(), 3, "one per plugin");
    for (index, result) in results.iter().enumerate() {
        let fields = [
            ("plugin", Type::OneOf(&LAB)),
            ("recycled", Type::Boolean),
            ("linear_memory_before_mb", Type::Number),
            ("linear_memory_after_mb", Type::Number),
            ("reason", Type::Text),
        ];
        check("gc", &collected, &format!("/gc_results/{index}"), &fields);
        assert_eq!(
            result["recycled"],
            json!(result["plugin"] == json!("cache")),
            "{result}"
        );
    }
}

#[tokio::test]
async fn every_leak_applies_probability_max_mb_and_ttl() {
    let host = TestHost::with(&LAB).start().await;
    for leak in LAB {
        let path = format!("/admin/leaks/{leak}");
        host.post("/admin/reset", json!({})).await;

        // `probability` is the share of requests that leak.
        host.post(&path, json!({"enabled": true, "probability": 0.0}))
            .await;
        for _ in 0..20 {
            assert_eq!(host.data().await["leaks_triggered"], json!([]), "{leak}");
        }
        host.post(&path, json!({"probability": 0.5})).await;
        host.traffic(400).await;
        let count = number(&host.leak(leak).await, "/count");
        // Five standard deviations of a fair coin: 50 around 200.
        assert!(
            (150.0..=250.0).contains(&count),
            "{leak}: {count} of 400 requests leak"
        );

        // `max_mb` is where a leak stops retaining.
        host.post("/admin/reset", json!({})).await;
        host.post(
            &path,
            json!({"enabled": true, "payload_bytes": 65536, "max_mb": 1}),
        )
        .await;
        host.traffic(60).await;
        let retained = number(&host.leak(leak).await, "/estimated_size_mb");
        assert!(
            (0.8..=1.0).contains(&retained),
            "{leak} stops before 1 MiB: {retained}"
        );

        // After `ttl_seconds` the leak switches itself off.
        host.post("/admin/reset", json!({})).await;
        host.post(&path, json!({"enabled": true, "ttl_seconds": 1}))
            .await;
        assert_eq!(host.data().await["leaks_triggered"], json!([leak]));
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        assert_eq!(host.data().await["leaks_triggered"], json!([]), "{leak}");
        let status = host.leak(leak).await;
        assert_eq!(status["enabled"], json!(false), "{leak}");
        check("after the ttl", &status, "", &[("expires_at", Type::Null)]);
    }
}

#[tokio::test]
async fn max_mb_holds_with_every_curve() {
    let host = TestHost::with(&LAB).start().await;
    for (curve, every) in [
        ("linear", 1),
        ("step", 3),
        ("exponential", 1),
        ("exponential", 7),
    ] {
        host.post("/admin/reset", json!({})).await;
        let settings = json!({
            "enabled": true,
            "payload_bytes": 50_000,
            "curve": curve,
            "curve_every": every,
            "max_mb": 2,
        });
        host.post("/admin/leaks/cache", settings).await;
        host.traffic(60).await;
        let retained = number(&host.leak("cache").await, "/estimated_size_mb");
        assert!(
            (0.8..=2.0).contains(&retained),
            "{curve} {every}: {retained}"
        );
    }
}
