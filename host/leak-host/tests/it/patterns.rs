//! Every shipped plugin behaves as its page says. The diff names the line of a leak, the fixed
//! variant stops growing, and a clear frees what the leak retains. A decoy ends up flat.

use std::time::Duration;

use serde_json::json;

use crate::components::shipped;
use crate::lab::{Lab, MIB, assert_close, number};

/// The tolerance for the live heap of a pattern that retains the same: a list has grown, or a
/// string has spare capacity.
const LIVE_TOLERANCE_BYTES: f64 = 8.0 * 1024.0;

/// Longer than the decoy `in-flight` keeps a request.
const IN_FLIGHT_TIME: Duration = Duration::from_millis(700);

/// Returns true if the live heap of a plugin grows with its requests. Every plugin that is not
/// listed here leaks.
fn live_heap_grows(plugin: &str) -> bool {
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

#[tokio::test]
async fn every_shipped_plugin_behaves_as_documented() {
    let names = shipped();
    assert!(names.len() >= 14, "{names:?}");
    let lab = Lab::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let lab = lab.start().await;
    for plugin in &names {
        eprintln!("{plugin}");
        let start = live_bytes(&lab, plugin).await;
        lab.enable(plugin).await;
        match plugin.as_str() {
            "fragmentation" => check_fragmentation(&lab).await,
            "in-flight" => check_in_flight(&lab).await,
            "one-off-spike" => check_one_off_spike(&lab, start).await,
            "sawtooth" => check_sawtooth(&lab).await,
            "warm-up" => check_warm_up(&lab).await,
            leak => check_diff_names_the_line(&lab, leak).await,
        }
        if live_heap_grows(plugin) {
            assert!(live_bytes(&lab, plugin).await > start + 100.0 * 1024.0);
        }
        if plugin == "in-flight" {
            check_fixed_in_flight_is_bounded(&lab).await;
        } else {
            check_fixed_variant_is_flat(&lab, plugin).await;
        }
        check_clear_frees_everything(&lab, plugin, start).await;
        lab.disable(plugin).await;
        let off = live_bytes(&lab, plugin).await;
        lab.traffic(20).await;
        assert_eq!(live_bytes(&lab, plugin).await, off, "{plugin} is disabled");
    }
}

/// The top line of the diff is in the plugin's own source. It allocates one block per request.
async fn check_diff_names_the_line(lab: &Lab, plugin: &str) {
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
    // The consumer of `unbounded-queue` has removed some blocks.
    let blocks = number(top, "/count_diff");
    assert!((100.0..=200.0).contains(&blocks), "{plugin}: {top}");

    let leak = lab.leak(plugin).await;
    let payload = number(&leak, "/settings/payload_bytes");
    assert_close(plugin, total / blocks, payload, 0.1);
    let retained = number(&leak, "/estimated_size_bytes");
    assert_close(plugin, number(&leak, "/heap_live_bytes"), retained, 0.02);
}

async fn check_fixed_variant_is_flat(lab: &Lab, plugin: &str) {
    lab.configure(plugin, json!({"variant": "fixed"})).await;
    lab.traffic(150).await;
    let settled = live_bytes(lab, plugin).await;
    lab.traffic(200).await;
    let later = live_bytes(lab, plugin).await;
    let allowed = LIVE_TOLERANCE_BYTES + settled * 0.05;
    assert!(
        later <= settled + allowed,
        "{plugin}: from {settled} to {later}"
    );
}

async fn check_clear_frees_everything(lab: &Lab, plugin: &str, start: f64) {
    lab.configure(plugin, json!({"variant": "leaky"})).await;
    lab.traffic(120).await;
    lab.clear(plugin).await;
    let cleared = lab.leak(plugin).await;
    assert_eq!(cleared["count"], json!(0), "{plugin}");
    assert_eq!(cleared["estimated_size_bytes"], json!(0), "{plugin}");
    let live = number(&cleared, "/heap_live_bytes");
    assert!(
        live <= start + LIVE_TOLERANCE_BYTES,
        "{plugin}: {live} after {start}"
    );
}

/// Linear memory grows and the live heap does not. The fixed variant keeps linear memory flat, too.
async fn check_fragmentation(lab: &Lab) {
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

    lab.reset(plugin).await;
    lab.configure(plugin, json!({"variant": "fixed"})).await;
    lab.traffic(80).await;
    let linear = linear_bytes(lab, plugin).await;
    lab.traffic(250).await;
    let fixed = linear_bytes(lab, plugin).await;
    assert!(fixed <= linear + MIB, "from {linear} to {fixed}");
}

/// The plugin releases a request after its time in flight.
async fn check_in_flight(lab: &Lab) {
    lab.traffic(50).await;
    // The next request makes the plugin release the finished ones.
    tokio::time::sleep(IN_FLIGHT_TIME).await;
    lab.traffic(1).await;
    assert_eq!(lab.leak("in-flight").await["count"], json!(1));
}

/// The count stays within a bound. Below the bound it depends on the request rate of this machine.
async fn check_fixed_in_flight_is_bounded(lab: &Lab) {
    lab.configure("in-flight", json!({"variant": "fixed"}))
        .await;
    tokio::time::sleep(IN_FLIGHT_TIME).await;
    lab.traffic(100).await;
    let count = number(&lab.leak("in-flight").await, "/count");
    assert!((1.0..=20.0).contains(&count), "{count}");
}

/// The spike of 8 MiB is freed, but linear memory never shrinks.
async fn check_one_off_spike(lab: &Lab, start: f64) {
    lab.traffic(50).await;
    let spike = lab.leak("one-off-spike").await;
    assert_close("spike", number(&spike, "/heap_live_bytes"), 8.0 * MIB, 0.02);
    lab.traffic(51).await;
    let gone = lab.leak("one-off-spike").await;
    assert!(number(&gone, "/heap_live_bytes") < start + LIVE_TOLERANCE_BYTES);
    assert_eq!(
        gone["linear_memory_bytes"], spike["linear_memory_bytes"],
        "linear memory still contains the spike"
    );
}

/// The floor of the sawtooth does not rise.
async fn check_sawtooth(lab: &Lab) {
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

/// The cache fills up to 100 entries and then stays.
async fn check_warm_up(lab: &Lab) {
    lab.traffic(1200).await;
    let warm = lab.leak("warm-up").await;
    assert_eq!(warm["count"], json!(100));
    lab.traffic(200).await;
    assert_eq!(
        lab.leak("warm-up").await["heap_live_bytes"],
        warm["heap_live_bytes"]
    );
}
