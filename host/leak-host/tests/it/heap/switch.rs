//! The switch for attribution, for one plugin or for all. Attribution that is off has no cost.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::profiles::Profile;
use super::{ALL_LINES, payloads_gained, rows};
use crate::components::LAB;
use crate::lab::{Answer, Lab, number};
use crate::metrics::scrape::Scrape;

#[tokio::test]
async fn attribution_can_be_off_for_one_plugin() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    lab.traffic(30).await;
    let generation = number(&lab.leak("cache").await, "/generation");

    let answer = lab.configure("cache", json!({"heap_profile": "off"})).await;
    assert_eq!(answer["settings"]["heap_profile"], json!("off"));
    let status = lab.leak("cache").await;
    assert_eq!(number(&status, "/generation"), generation + 1.0, "{status}");
    assert_eq!(status["entries"], json!(0), "a fresh instance: {status}");
    assert_eq!(number(&status, "/estimated_size_bytes"), 0.0);
    assert_eq!(status["enabled"], json!(true), "the leak stays enabled");
    assert!(status["heap_live_mb"].is_null(), "{status}");

    let data = lab.data().await;
    assert_eq!(data["leaks_triggered"], json!(LAB), "{data}");
    lab.traffic(9).await;
    assert_eq!(lab.leak("cache").await["entries"], json!(10));
    assert_eq!(
        lab.leak("history").await["entries"],
        json!(40),
        "other plugins are not restarted"
    );

    let memory = lab.get("/admin/memory?all=true").await;
    let cache = &memory["plugins"]["cache"];
    assert!(
        cache["heap_live_mb"].is_null() && cache["heap_free_mb"].is_null(),
        "{cache}"
    );
    assert_eq!(number(cache, "/profiler_bytes"), 0.0, "{cache}");
    assert_eq!(memory["heap"]["attribution"], json!("partial"));
    let why = memory["heap"]["why"].as_str().unwrap();
    assert!(why.contains("cache"), "{why}");

    let live = "leak_plugin_heap_live_bytes";
    let of_cache = [("plugin", "cache")];
    let scrape = Scrape::of(&lab).await;
    let of_plugins: Vec<_> = scrape
        .of_metric(live)
        .map(|(labels, _)| &labels["plugin"])
        .collect();
    assert_eq!(
        of_plugins,
        ["history", "listeners"],
        "the plugin has no series"
    );

    let snapshot = lab.get(ALL_LINES).await;
    let summary = &snapshot["plugins"]["cache"];
    assert_eq!(summary["attribution"], json!("off"), "{summary}");
    assert!(!summary["attribution_why"].as_str().unwrap().is_empty());
    assert!(summary["heap_live_bytes"].is_null(), "{summary}");
    assert!(
        rows(&snapshot, "by_line")
            .iter()
            .all(|row| row["plugin"] != json!("cache"))
    );
    let diff = lab.get("/admin/memory/diff").await;
    assert_eq!(diff["status"], json!("baseline_set"), "{diff}");

    lab.configure("cache", json!({"heap_profile": "exact"}))
        .await;
    lab.traffic(25).await;
    let status = lab.leak("cache").await;
    assert_eq!(number(&status, "/generation"), generation + 2.0, "{status}");
    assert_eq!(status["attribution"], json!("exact"), "{status}");
    assert!(status["heap_live_mb"].is_number(), "{status}");
    let diff = lab.get("/admin/memory/diff").await;
    assert_eq!(payloads_gained(&diff), 25.0, "{diff}");
    let memory = lab.get("/admin/memory?all=true").await;
    assert_eq!(memory["heap"]["attribution"], json!("exact"));
    assert!(Scrape::of(&lab).await.sum(live, &of_cache) > 0.0);
}

#[tokio::test]
async fn setting_the_current_value_does_not_restart_the_plugin() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(5).await;
    let before = lab.leak("cache").await;
    lab.configure("cache", json!({"heap_profile": "exact"}))
        .await;
    let after = lab.leak("cache").await;
    assert_eq!(before["generation"], after["generation"]);
    assert_eq!(after["entries"], json!(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_served_while_the_plugin_is_compiled_without_attribution() {
    // A cache of its own, so that the host has to compile.
    let cache = tempfile::tempdir().unwrap();
    let lab = Lab::with(&["cache"])
        .env("XDG_CACHE_HOME", cache.path().to_str().unwrap())
        .start()
        .await;
    let lab = Arc::new(lab);
    lab.enable("cache").await;
    let switching = {
        let lab = Arc::clone(&lab);
        tokio::spawn(async move { lab.configure("cache", json!({"heap_profile": "off"})).await })
    };
    let mut requests = 0;
    while !switching.is_finished() {
        lab.data().await;
        requests += 1;
    }
    assert_eq!(switching.await.unwrap()["restarted"], json!(true));
    assert!(requests >= 5, "only {requests} requests");
}

#[tokio::test]
async fn attribution_can_be_off_from_the_start() {
    let lab = Lab::with(&LAB).args(["--heap-profile", "off"]);
    let lab = lab.start().await;
    lab.enable("cache").await;
    lab.traffic(20).await;
    let memory = lab.get("/admin/memory?all=true").await;
    assert_eq!(memory["heap"]["attribution"], json!("off"), "{memory}");
    assert!(memory["heap"]["why"].is_string(), "{memory}");
    assert_eq!(memory["heap"]["top_allocations"], json!([]));
    let snapshot = lab.get(ALL_LINES).await;
    assert_eq!(snapshot["by_line"], json!([]));
    assert_eq!(number(&snapshot, "/total_traced_bytes"), 0.0);
    lab.get("/admin/memory/diff").await;
    lab.traffic(20).await;
    let diff = lab.get("/admin/memory/diff").await;
    assert_eq!(diff["growing_allocations"], json!([]), "{diff}");
    assert_eq!(diff["plugins"]["cache"]["retained_objects_diff"], json!(20));
    lab.get("/admin/memory/diff?since=1m").await;
    lab.get("/admin/memory/history").await;
    assert_eq!(Profile::of(&lab, "").await.total("alloc_space"), 0.0);
    let flamegraph = Answer::of(lab.request(Method::GET, "/admin/memory/flamegraph")).await;
    assert_eq!(flamegraph.status, 200, "{}", flamegraph.text);

    lab.configure("cache", json!({"heap_profile": "exact"}))
        .await;
    lab.traffic(20).await;
    let snapshot = lab.get(ALL_LINES).await;
    assert_eq!(snapshot["plugins"]["cache"]["attribution"], json!("exact"));
    assert!(number(&snapshot, "/total_traced_bytes") > 20.0 * 4500.0);
}
