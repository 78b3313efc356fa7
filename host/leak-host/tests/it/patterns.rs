//! Every plugin that is shipped does what its page says: a leak is found by its line, is flat when it is fixed,
//! and gives back what it held; a decoy ends up flat.

use std::time::Duration;

use serde_json::{Value, json};

use crate::components::shipped;
use crate::lab::{Lab, MIB, assert_close, number};

/// What a live heap may differ by when the pattern holds the same: a list that has grown, a string's spare room.
const SLACK_BYTES: f64 = 8.0 * 1024.0;

/// Longer than the decoy `in-flight` works on a request.
const WORKED_ON: Duration = Duration::from_millis(700);

/// What a plugin's memory does while its requests go on. A plugin that is not named here leaks.
fn is_leak(plugin: &str) -> bool {
    ![
        "fragmentation",
        "in-flight",
        "one-off-spike",
        "sawtooth",
        "warm-up",
    ]
    .contains(&plugin)
}

async fn live_bytes(lab: &Lab, plugin: &str) -> f64 {
    number(&lab.leak(plugin).await, "/heap_live_bytes")
}

async fn linear_bytes(lab: &Lab, plugin: &str) -> f64 {
    number(&lab.leak(plugin).await, "/linear_memory_bytes")
}

async fn set(lab: &Lab, plugin: &str, settings: Value) {
    lab.post(&format!("/admin/leaks/{plugin}"), settings).await;
}

#[tokio::test]
async fn every_shipped_plugin_does_what_it_is_there_for() {
    let names = shipped();
    assert!(names.len() >= 14, "{names:?}");
    let lab = Lab::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let lab = lab.start().await;
    for plugin in &names {
        eprintln!("{plugin}");
        let start = live_bytes(&lab, plugin).await;
        lab.enable(plugin).await;
        match plugin.as_str() {
            "fragmentation" => linear_grows_and_live_does_not(&lab).await,
            "in-flight" => in_flight_comes_down(&lab).await,
            "one-off-spike" => the_spike_is_gone(&lab, start).await,
            "sawtooth" => the_floor_stays(&lab).await,
            "warm-up" => the_warm_cache_stays(&lab).await,
            leak => the_diff_names_the_line(&lab, leak).await,
        }
        if is_leak(plugin) {
            assert!(live_bytes(&lab, plugin).await > start + 100.0 * 1024.0);
        }
        if plugin == "in-flight" {
            bounded_when_fixed(&lab).await;
        } else {
            flat_when_fixed(&lab, plugin).await;
        }
        nothing_left_after_clear(&lab, plugin, start).await;
        lab.disable(plugin).await;
        let off = live_bytes(&lab, plugin).await;
        lab.traffic(20).await;
        assert_eq!(live_bytes(&lab, plugin).await, off, "{plugin} is off");
    }
}

/// The top line of the diff is in the plugin's own source, and makes one block per request.
async fn the_diff_names_the_line(lab: &Lab, plugin: &str) {
    lab.traffic(50).await;
    let baseline = lab.request(reqwest::Method::PUT, "/admin/memory/baselines/before");
    assert!(baseline.send().await.unwrap().status().is_success());
    lab.traffic(200).await;
    let diff = format!("/admin/memory/diff?baseline=before&plugin={plugin}");
    let diff = lab.get(&diff).await;
    let top = &diff["growing_allocations"][0];
    let location = top["location"].as_str().unwrap_or_default();
    let folder = format!("/{plugin}/src/");
    assert!(
        location.starts_with("plugins/") && location.contains(&folder),
        "{plugin}: {diff:#}"
    );
    let total = number(&diff, "/total_growth_bytes");
    let of_line = number(top, "/size_diff_bytes");
    assert!(of_line > total / 2.0, "{plugin}: {diff:#}");
    // The queue's consumer has taken some out meanwhile.
    let blocks = number(top, "/count_diff");
    assert!((100.0..=200.0).contains(&blocks), "{plugin}: {top}");

    let leak = lab.leak(plugin).await;
    let payload = number(&leak, "/settings/payload_bytes");
    assert_close(plugin, total / blocks, payload, 0.1);
    let retained = number(&leak, "/estimated_size_bytes");
    assert_close(plugin, number(&leak, "/heap_live_bytes"), retained, 0.02);
}

async fn flat_when_fixed(lab: &Lab, plugin: &str) {
    set(lab, plugin, json!({"variant": "fixed"})).await;
    lab.traffic(150).await;
    let settled = live_bytes(lab, plugin).await;
    lab.traffic(200).await;
    let later = live_bytes(lab, plugin).await;
    let allowed = SLACK_BYTES + settled * 0.05;
    assert!(
        later <= settled + allowed,
        "{plugin}: from {settled} to {later}"
    );
}

async fn nothing_left_after_clear(lab: &Lab, plugin: &str, start: f64) {
    set(lab, plugin, json!({"variant": "leaky"})).await;
    lab.traffic(120).await;
    lab.post("/admin/leaks/clear", json!({"leak_type": plugin}))
        .await;
    let cleared = lab.leak(plugin).await;
    assert_eq!(cleared["count"], json!(0), "{plugin}");
    assert_eq!(cleared["estimated_size_bytes"], json!(0), "{plugin}");
    let live = number(&cleared, "/heap_live_bytes");
    assert!(
        live <= start + SLACK_BYTES,
        "{plugin}: {live} after {start}"
    );
}

async fn linear_grows_and_live_does_not(lab: &Lab) {
    let plugin = "fragmentation";
    lab.traffic(80).await;
    let (live, linear) = (
        live_bytes(lab, plugin).await,
        linear_bytes(lab, plugin).await,
    );
    lab.traffic(250).await;
    assert_close("live", live_bytes(lab, plugin).await, live, 0.1);
    let grown = linear_bytes(lab, plugin).await;
    assert!(grown > linear + 8.0 * MIB, "from {linear} to {grown}");

    lab.post(&format!("/admin/leaks/{plugin}/reset"), json!({}))
        .await;
    set(lab, plugin, json!({"variant": "fixed"})).await;
    lab.traffic(80).await;
    let linear = linear_bytes(lab, plugin).await;
    lab.traffic(250).await;
    let fixed = linear_bytes(lab, plugin).await;
    assert!(fixed <= linear + MIB, "from {linear} to {fixed}");
}

async fn in_flight_comes_down(lab: &Lab) {
    lab.traffic(50).await;
    // Then one that has the others finished.
    tokio::time::sleep(WORKED_ON).await;
    lab.traffic(1).await;
    assert_eq!(lab.leak("in-flight").await["count"], json!(1));
}

/// Within its bound it follows the rate of requests, which is this machine's.
async fn bounded_when_fixed(lab: &Lab) {
    set(lab, "in-flight", json!({"variant": "fixed"})).await;
    tokio::time::sleep(WORKED_ON).await;
    lab.traffic(100).await;
    let count = number(&lab.leak("in-flight").await, "/count");
    assert!((1.0..=20.0).contains(&count), "{count}");
}

async fn the_spike_is_gone(lab: &Lab, start: f64) {
    lab.traffic(50).await;
    let spike = lab.leak("one-off-spike").await;
    assert_close("spike", number(&spike, "/heap_live_bytes"), 8.0 * MIB, 0.02);
    lab.traffic(51).await;
    let gone = lab.leak("one-off-spike").await;
    assert!(number(&gone, "/heap_live_bytes") < start + SLACK_BYTES);
    assert_eq!(
        gone["linear_memory_bytes"], spike["linear_memory_bytes"],
        "it looks as if it had stayed"
    );
}

async fn the_floor_stays(lab: &Lab) {
    lab.traffic(100).await;
    let floor = live_bytes(lab, "sawtooth").await;
    for _ in 0..2 {
        lab.traffic(99).await;
        let top = live_bytes(lab, "sawtooth").await;
        assert!(top > floor + 300.0 * 1024.0, "{top}");
        lab.traffic(1).await;
        assert_eq!(live_bytes(lab, "sawtooth").await, floor);
    }
}

async fn the_warm_cache_stays(lab: &Lab) {
    lab.traffic(1200).await;
    let warm = lab.leak("warm-up").await;
    assert_eq!(warm["count"], json!(100));
    lab.traffic(200).await;
    assert_eq!(
        lab.leak("warm-up").await["heap_live_bytes"],
        warm["heap_live_bytes"]
    );
}
