//! The dead still speak: the books of a plugin that has died are readable until it is reset.

use reqwest::Method;
use serde_json::json;

use super::profiles::Profile;
use super::{ALL_LINES, at, cache_payload_line, put_baseline, rows, sum};
use crate::lab::{Answer, Lab, MIB, number};

/// Blocks that the standard library allocates to say that a guest has ended, on the line that ended it.
const LAST_WORDS: f64 = 4.0;

/// Sends requests until the plugin has failed, and says how many went well before.
async fn until_dead(lab: &Lab, plugin: &str, state: &str) -> f64 {
    for well in 0..2000 {
        let data = lab.data().await;
        let failed = data["leaks_failed"].as_array();
        if failed.is_some_and(|failed| !failed.is_empty()) {
            let status = lab.leak(plugin).await;
            assert_eq!(status["state"], json!(state), "{status}");
            return f64::from(well);
        }
    }
    panic!("{plugin} does not fail: {}", lab.leak(plugin).await);
}

async fn flamegraph(lab: &Lab, query: &str) -> String {
    let path = format!("/admin/memory/flamegraph{query}");
    let answer = Answer::of(lab.request(Method::GET, &path)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

/// Everything that can be asked about a plugin agrees on what it held when it died.
async fn speaks(lab: &Lab, plugin: &str, state: &str, location: &str, objects: f64) {
    let snapshot = lab.get(&format!("{ALL_LINES}&plugin={plugin}")).await;
    let summary = &snapshot["plugins"][plugin];
    assert_eq!(summary["state"], json!(state), "{summary}");
    assert_eq!(summary["attribution"], json!("exact"), "{summary}");
    let by_line = rows(&snapshot, "by_line");
    let total = sum(by_line, "size_bytes");
    assert_eq!(total, number(summary, "/heap_live_bytes"));
    let row = at(by_line, location).unwrap_or_else(|| panic!("{location} in {snapshot}"));
    let count = number(row, "/count");
    // The last request may have got its payload before it died, and dying allocates a little itself.
    assert!(
        (objects..=objects + 1.0 + LAST_WORDS).contains(&count),
        "{objects}: {row}"
    );

    let diff = lab
        .get(&format!(
            "/admin/memory/diff?baseline=alive&plugin={plugin}"
        ))
        .await;
    let grown = at(rows(&diff, "growing_allocations"), location);
    assert_eq!(
        number(grown.expect("it grew"), "/count_diff"),
        count,
        "{diff}"
    );

    let profile = Profile::of(lab, &format!("?plugin={plugin}")).await;
    assert_eq!(profile.total("inuse_space"), total);
    let (file, line) = location.rsplit_once(':').unwrap();
    assert!(profile.has_line(file, line.parse().unwrap()), "{location}");
    for query in [
        format!("?plugin={plugin}"),
        format!("?plugin={plugin}&baseline=alive"),
    ] {
        assert!(
            flamegraph(lab, &query).await.contains("on_request"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_plugin_out_of_memory_tells_what_filled_it_until_it_is_reset() {
    let lab = Lab::with(&["cache", "history"]).start().await;
    lab.post(
        "/admin/leaks/cache",
        json!({"enabled": true, "memory_limit_mb": 4, "payload_bytes": 32768}),
    )
    .await;
    put_baseline(&lab, "alive").await;
    let well = until_dead(&lab, "cache", "exhausted").await;
    assert!(well > 20.0, "it lived for a while: {well}");
    speaks(&lab, "cache", "exhausted", &cache_payload_line(), well).await;
    // And goes on speaking while the lab works.
    lab.traffic(20).await;
    speaks(&lab, "cache", "exhausted", &cache_payload_line(), well).await;
    let top = lab.get("/admin/memory").await["heap"]["top_allocations"][0].clone();
    assert_eq!(top["location"], json!(cache_payload_line()));

    lab.post("/admin/leaks/cache/reset", json!({})).await;
    let snapshot = lab.get(&format!("{ALL_LINES}&plugin=cache")).await;
    assert_eq!(at(rows(&snapshot, "by_line"), &cache_payload_line()), None);
    assert_eq!(snapshot["plugins"]["cache"]["state"], json!("running"));
    let profile = Profile::of(&lab, "?plugin=cache").await;
    assert_eq!(
        profile.total("inuse_space"),
        number(&snapshot, "/total_traced_bytes")
    );
    assert!(profile.total("alloc_space") < 1e6, "the books are new ones");
    assert!(
        !flamegraph(&lab, "?plugin=cache")
            .await
            .contains(&cache_payload_line())
    );
    lab.traffic(1).await;
    assert_eq!(
        lab.leak("cache").await["entries"],
        json!(1),
        "it lives again"
    );
}

#[tokio::test]
async fn a_plugin_that_trapped_tells_what_it_held_until_it_is_reset() {
    let lab = Lab::with(&["cache", "fixture-traps"]).start().await;
    for kind in ["panic", "abort", "out_of_bounds", "exit"] {
        let settings =
            json!({"enabled": true, "after_requests": 20, "kind": kind, "payload_bytes": 4096});
        lab.post("/admin/leaks/fixture-traps", settings).await;
        put_baseline(&lab, "alive").await;
        let well = until_dead(&lab, "fixture-traps", "faulted").await;
        assert_eq!(well, 20.0, "{kind}");
        let line = super::line_of("fixtures/fixture-traps", "self.0.keep(call.payload(");
        speaks(&lab, "fixture-traps", "faulted", &line, 21.0).await;
        lab.post("/admin/leaks/fixture-traps/reset", json!({}))
            .await;
        let snapshot = lab.get(&format!("{ALL_LINES}&plugin=fixture-traps")).await;
        assert_eq!(at(rows(&snapshot, "by_line"), &line), None, "{kind}");
    }
}

#[tokio::test]
async fn a_plugin_that_asked_for_too_much_tells_what_it_had() {
    let lab = Lab::with(&["fixture-hog"]).start().await;
    let settings =
        json!({"enabled": true, "after_requests": 50, "memory_limit_mb": 32, "step_mib": 8});
    lab.post("/admin/leaks/fixture-hog", settings).await;
    put_baseline(&lab, "alive").await;
    let well = until_dead(&lab, "fixture-hog", "exhausted").await;
    assert_eq!(well, 50.0);
    let line = super::line_of("fixtures/fixture-hog", "block.reserve_exact(bytes)");
    let snapshot = lab.get(&format!("{ALL_LINES}&plugin=fixture-hog")).await;
    let row = at(rows(&snapshot, "by_line"), &line).unwrap_or_else(|| panic!("{snapshot}"));
    // It got three of the four that it has room for, and what it was denied is not live.
    let held = number(row, "/size_bytes");
    let blocks = (held / (8.0 * MIB)).floor();
    assert_eq!(blocks, 3.0, "{row}");
    assert!(held - blocks * 8.0 * MIB < 4096.0, "{row}");
    speaks(&lab, "fixture-hog", "exhausted", &line, blocks).await;
}
