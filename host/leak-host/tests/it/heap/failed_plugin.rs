//! The heap tables of a plugin that has failed stay readable until it is reset.

use serde_json::json;

use super::profiles::{Profile, flamegraph};
use super::{ALL_LINES, at, cache_payload_line, put_baseline, rows, sum};
use crate::lab::{Lab, MIB, failures, number};

/// The blocks that the standard library allocates to report the end of a guest. They are attributed
/// to the line that ended it.
const EXIT_REPORT_BLOCKS: f64 = 4.0;

/// Sends requests until the plugin fails, and asserts its state. Returns the number of successful
/// calls.
async fn run_until_failure(lab: &Lab, plugin: &str, state: &str) -> f64 {
    for successful in 0..2000 {
        let data = lab.data().await;
        if !failures(&data).is_empty() {
            let status = lab.leak(plugin).await;
            assert_eq!(status["state"], json!(state), "{status}");
            return f64::from(successful);
        }
    }
    panic!("{plugin} does not fail: {}", lab.leak(plugin).await);
}

/// Asserts that every view of the plugin's heap shows what it retained when it failed: at least
/// `objects` objects at `location`.
async fn check_views(lab: &Lab, plugin: &str, state: &str, location: &str, objects: f64) {
    let snapshot = lab.get(&format!("{ALL_LINES}&plugin={plugin}")).await;
    let summary = &snapshot["plugins"][plugin];
    assert_eq!(summary["state"], json!(state), "{summary}");
    assert_eq!(summary["attribution"], json!("exact"), "{summary}");
    let by_line = rows(&snapshot, "by_line");
    let total = sum(by_line, "size_bytes");
    assert_eq!(total, number(summary, "/heap_live_bytes"));
    let row = at(by_line, location).unwrap_or_else(|| panic!("{location} in {snapshot}"));
    let count = number(row, "/count");
    // The failed call may have allocated its payload before, and the failure allocates some blocks.
    assert!(
        (objects..=objects + 1.0 + EXIT_REPORT_BLOCKS).contains(&count),
        "{objects}: {row}"
    );

    let diff = format!("/admin/memory/diff?baseline=running&plugin={plugin}");
    let diff = lab.get(&diff).await;
    let growing = at(rows(&diff, "growing_allocations"), location);
    let growing = growing.unwrap_or_else(|| panic!("{location} in {diff}"));
    assert_eq!(number(growing, "/count_diff"), count, "{diff}");

    let profile = Profile::of(lab, &format!("?plugin={plugin}")).await;
    assert_eq!(profile.total("inuse_space"), total);
    let (file, line) = location.rsplit_once(':').unwrap();
    assert!(profile.has_line(file, line.parse().unwrap()), "{location}");
    for query in [
        format!("?plugin={plugin}"),
        format!("?plugin={plugin}&baseline=running"),
    ] {
        assert!(
            flamegraph(lab, &query).await.contains("on_request"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_heap_of_an_exhausted_plugin_is_readable_until_it_is_reset() {
    let lab = Lab::with(&["cache", "history"]).start().await;
    let settings = json!({"enabled": true, "memory_limit_mb": 4, "payload_bytes": 32768});
    lab.configure("cache", settings).await;
    put_baseline(&lab, "running").await;
    let calls = run_until_failure(&lab, "cache", "exhausted").await;
    assert!(calls > 20.0, "{calls} successful calls");
    check_views(&lab, "cache", "exhausted", &cache_payload_line(), calls).await;
    // Later requests do not change the views.
    lab.traffic(20).await;
    check_views(&lab, "cache", "exhausted", &cache_payload_line(), calls).await;
    let top = lab.get("/admin/memory?all=true").await["heap"]["top_allocations"][0].clone();
    assert_eq!(top["location"], json!(cache_payload_line()));

    lab.reset("cache").await;
    let snapshot = lab.get(&format!("{ALL_LINES}&plugin=cache")).await;
    assert_eq!(at(rows(&snapshot, "by_line"), &cache_payload_line()), None);
    assert_eq!(snapshot["plugins"]["cache"]["state"], json!("running"));
    let profile = Profile::of(&lab, "?plugin=cache").await;
    assert_eq!(
        profile.total("inuse_space"),
        number(&snapshot, "/total_traced_bytes")
    );
    assert!(
        profile.total("alloc_space") < 1e6,
        "a fresh instance has fresh heap tables"
    );
    assert!(
        !flamegraph(&lab, "?plugin=cache")
            .await
            .contains(&cache_payload_line())
    );
    lab.traffic(1).await;
    assert_eq!(lab.leak("cache").await["entries"], json!(1));
}

#[tokio::test]
async fn the_heap_of_a_plugin_that_trapped_is_readable_until_it_is_reset() {
    let lab = Lab::with(&["cache", "fixture-traps"]).start().await;
    for kind in ["panic", "abort", "out_of_bounds", "exit"] {
        let settings =
            json!({"enabled": true, "after_requests": 20, "kind": kind, "payload_bytes": 4096});
        lab.configure("fixture-traps", settings).await;
        put_baseline(&lab, "running").await;
        let calls = run_until_failure(&lab, "fixture-traps", "faulted").await;
        assert_eq!(calls, 20.0, "{kind}");
        let line = super::line_of("fixtures/fixture-traps", "self.0.keep(call.payload(");
        check_views(&lab, "fixture-traps", "faulted", &line, 21.0).await;
        lab.reset("fixture-traps").await;
        let snapshot = lab.get(&format!("{ALL_LINES}&plugin=fixture-traps")).await;
        assert_eq!(at(rows(&snapshot, "by_line"), &line), None, "{kind}");
    }
}

#[tokio::test]
async fn a_denied_allocation_is_not_in_the_heap_profile() {
    let lab = Lab::with(&["fixture-hog"]).start().await;
    let settings =
        json!({"enabled": true, "after_requests": 50, "memory_limit_mb": 32, "step_mib": 8});
    lab.configure("fixture-hog", settings).await;
    put_baseline(&lab, "running").await;
    let calls = run_until_failure(&lab, "fixture-hog", "exhausted").await;
    assert_eq!(calls, 50.0);
    let line = super::line_of("fixtures/fixture-hog", "block.reserve_exact(bytes)");
    let snapshot = lab.get(&format!("{ALL_LINES}&plugin=fixture-hog")).await;
    let row = at(rows(&snapshot, "by_line"), &line).unwrap_or_else(|| panic!("{snapshot}"));
    // The limit has room for four blocks. The plugin got three, and the denied block is not live.
    let live = number(row, "/size_bytes");
    let blocks = (live / (8.0 * MIB)).floor();
    assert_eq!(blocks, 3.0, "{row}");
    assert!(live - blocks * 8.0 * MIB < 4096.0, "{row}");
    check_views(&lab, "fixture-hog", "exhausted", &line, blocks).await;
}
