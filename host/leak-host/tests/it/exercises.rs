//! The exercises over HTTP. The assertions are the promises that their text makes to a learner.

use serde_json::{Value, json};

use crate::components::LAB;
use crate::lab::{Lab, MIB, WAIT_TIMEOUT, assert_close, failures, number, wait_for};

/// The bound for "similar" and "flat" in the text: noise of the host's own allocator, no growth.
const FLAT_BYTES: f64 = 1.0 * MIB;

/// The field in which the answer to a clear counts the removed objects of a leak.
fn removed_field(leak: &str) -> &'static str {
    match leak {
        "cache" => "entries_removed",
        "listeners" => "callbacks_removed",
        _ => "records_removed",
    }
}

/// Lets the connection pool, the allocator and the first samples of memory settle.
async fn warm_up(lab: &Lab) {
    lab.traffic(200).await;
}

#[tokio::test]
async fn exercise_1_memory_is_flat_while_all_leaks_are_disabled() {
    let lab = Lab::with(&LAB).start().await;
    let status = lab.get("/admin/leaks/status").await;
    for leak in LAB {
        assert_eq!(status["leaks"][leak]["enabled"], json!(false), "{leak}");
        assert_eq!(status["leaks"][leak]["count"], json!(0), "{leak}");
        assert_eq!(status["leaks"][leak]["state"], json!("running"), "{leak}");
    }
    warm_up(&lab).await;

    let memory = async || lab.get("/admin/memory?all=true").await;
    let (before, resident) = (memory().await, lab.resident_bytes());
    for _ in 0..300 {
        let data = lab.data().await;
        assert_eq!(data["leaks_triggered"], json!([]));
        assert_eq!(failures(&data), [] as [Value; 0]);
    }
    let after = memory().await;
    assert!(
        (lab.resident_bytes() - resident).abs() <= FLAT_BYTES,
        "resident memory is flat"
    );
    for leak in LAB {
        let pointer = format!("/plugins/{leak}/linear_memory_bytes");
        assert_eq!(
            number(&before, &pointer),
            number(&after, &pointer),
            "{leak}"
        );
        assert_eq!(
            number(&after, &format!("/plugins/{leak}/retained_bytes")),
            0.0,
            "{leak}"
        );
    }
}

#[tokio::test]
async fn exercise_1_a_disabled_leak_is_not_called() {
    let lab = Lab::with(&LAB).start().await;
    lab.traffic(50).await;
    let metrics = lab.metrics_page().await;
    let called = metrics
        .lines()
        .filter(|line| line.starts_with("leak_plugin_invocations_total"))
        .filter(|line| !line.ends_with(" 0"));
    assert_eq!(called.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// Sends the thousand requests of exercises 2 and 6, and compares the growth with `payload_bytes`.
async fn check_growth(leak: &str) {
    let lab = Lab::with(&LAB).start().await;
    warm_up(&lab).await;
    let resident = lab.resident_bytes();
    let before = lab.leak(leak).await;

    let answer = lab.configure(leak, json!({"enabled": true})).await;
    assert_eq!(
        (&answer["leak"], &answer["enabled"]),
        (&json!(leak), &json!(true))
    );
    assert_eq!(lab.leak(leak).await["enabled"], json!(true));
    for _ in 0..1000 {
        assert_eq!(lab.data().await["leaks_triggered"], json!([leak]));
    }

    let after = lab.leak(leak).await;
    assert_eq!(after["count"], json!(1000), "{after}");
    assert_eq!(after["entries"], json!(1000), "{after}");
    assert_eq!(after["requests"], json!(1000), "{after}");
    let declared = number(&after, "/settings/payload_bytes");
    let retained = number(&after, "/estimated_size_bytes");
    assert_close("retained per request", retained / 1000.0, declared, 0.10);
    assert_close(
        "bytes_per_request",
        number(&after, "/bytes_per_request"),
        declared,
        0.10,
    );

    let linear = number(&after, "/linear_memory_bytes") - number(&before, "/linear_memory_bytes");
    assert!(
        (retained * 0.9 - MIB..=retained * 2.0 + MIB).contains(&linear),
        "linear memory grew by {linear} for {retained} retained bytes"
    );
    let resident = lab.resident_bytes() - resident;
    assert!(
        (retained * 0.8 - MIB..=retained * 2.0 + 2.0 * MIB).contains(&resident),
        "resident memory grew by {resident} for {retained} retained bytes"
    );

    for other in LAB.into_iter().filter(|other| *other != leak) {
        assert_eq!(
            lab.leak(other).await["count"],
            json!(0),
            "{other} is disabled"
        );
    }
}

#[tokio::test]
async fn exercise_2_the_cache_grows_by_its_payload_size() {
    check_growth("cache").await;
}

#[tokio::test]
async fn exercise_6_the_listeners_grow_by_their_payload_size() {
    check_growth("listeners").await;
}

#[tokio::test]
async fn exercise_6_the_history_grows_by_its_payload_size() {
    check_growth("history").await;
}

#[tokio::test]
async fn exercise_3_growth_is_proportional_to_requests() {
    let lab = Lab::with(&LAB).start().await;
    let settings = json!({"enabled": true, "payload_bytes": 65536});
    lab.configure("cache", settings).await;
    warm_up(&lab).await;
    let (before, resident_before) = (lab.leak("cache").await, lab.resident_bytes());
    let count = number(&before, "/count");
    let bytes = number(&before, "/estimated_size_bytes");
    let mut slopes = Vec::new();
    for requests in [200.0, 400.0, 800.0] {
        let so_far = number(&lab.leak("cache").await, "/count") - count;
        lab.traffic((requests - so_far) as usize).await;
        let now = lab.leak("cache").await;
        assert_eq!(
            number(&now, "/count") - count,
            requests,
            "each request leaks once"
        );
        slopes.push((number(&now, "/estimated_size_bytes") - bytes) / requests);
        let resident = (lab.resident_bytes() - resident_before) / requests;
        assert_close("resident bytes per request", resident, 65536.0, 0.15);
    }
    for slope in &slopes {
        assert_close("retained bytes per request", *slope, slopes[0], 0.05);
    }
}

/// The promise of exercise 5, for 100 MB instead of the few megabytes of the exercise.
async fn check_release_of_100_megabytes(leak: &str) {
    const PAYLOAD_BYTES: usize = 100 * 1024;
    let lab = Lab::with(&LAB).start().await;
    warm_up(&lab).await;
    let before = lab.resident_bytes();
    let settings = json!({"enabled": true, "payload_bytes": PAYLOAD_BYTES});
    lab.configure(leak, settings).await;
    lab.traffic(1000).await;
    let leaked = lab.resident_bytes() - before;
    assert!(leaked >= 95.0 * MIB, "100 MB leak: {leaked}");

    let cleared = lab.clear(leak).await;
    assert_eq!(cleared["cleared"], json!(leak));
    assert_eq!(cleared[removed_field(leak)], json!(1000), "{cleared}");
    assert_close(
        "freed",
        number(&cleared, "/freed_bytes"),
        1000.0 * PAYLOAD_BYTES as f64,
        0.10,
    );
    let status = lab.leak(leak).await;
    assert_eq!(status["count"], json!(0));
    assert_eq!(status["enabled"], json!(true), "clearing does not disable");

    let collected = lab.post("/admin/gc", json!({})).await;
    let result = gc_result(&collected, leak);
    assert_eq!(result["recycled"], json!(true), "{collected}");
    assert!(
        number(&collected, "/freed_bytes") >= 90.0 * MIB,
        "{collected}"
    );
    // Code that has run for the first time stays, and so do the plugin's symbols. On a busy machine
    // some threads have waited for work, and end within seconds.
    wait_for(
        "resident memory returns to its start",
        WAIT_TIMEOUT,
        async || {
            let after = lab.resident_bytes();
            let returned = after <= before + 4.0 * MIB + before * 0.02;
            let megabytes = |bytes: f64| format!("{:.1} MB", bytes / MIB);
            returned
                .then_some(())
                .ok_or_else(|| format!("{} before, {} after", megabytes(before), megabytes(after)))
        },
    )
    .await;

    lab.disable(leak).await;
    let settled = lab.resident_bytes();
    lab.traffic(500).await;
    assert!(
        lab.resident_bytes() - settled <= FLAT_BYTES,
        "resident memory does not grow while the leak is disabled"
    );
    assert_eq!(lab.leak(leak).await["count"], json!(0));
}

/// The entry of one plugin in the answer of `/admin/gc`.
fn gc_result<'a>(answer: &'a Value, plugin: &str) -> &'a Value {
    let results = answer["gc_results"].as_array().unwrap();
    let result = results
        .iter()
        .find(|entry| entry["plugin"] == json!(plugin));
    result.unwrap_or_else(|| panic!("no {plugin} in {answer}"))
}

#[tokio::test]
async fn exercise_5_clear_and_gc_free_all_memory_of_the_cache() {
    check_release_of_100_megabytes("cache").await;
}

#[tokio::test]
async fn exercise_5_clear_and_gc_free_all_memory_of_the_listeners() {
    check_release_of_100_megabytes("listeners").await;
}

#[tokio::test]
async fn exercise_5_clear_and_gc_free_all_memory_of_the_history() {
    check_release_of_100_megabytes("history").await;
}

#[tokio::test]
async fn exercise_5_gc_keeps_what_a_leak_still_retains() {
    let lab = Lab::with(&LAB).start().await;
    // The memory at the start is that of the second sample.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let settings = json!({"enabled": true, "payload_bytes": 100 * 1024});
    lab.configure("cache", settings).await;
    lab.traffic(400).await;
    let before = lab.leak("cache").await;
    let collected = lab.post("/admin/gc", json!({})).await;
    let cache = gc_result(&collected, "cache");
    assert_eq!(cache["recycled"], json!(false), "{cache}");
    assert!(!cache["reason"].as_str().unwrap().is_empty());
    let still = &collected["still_resident"];
    // The plugin retains 39 MiB. Resident memory also falls, by what the start left behind.
    assert!(number(still, "/above_start_bytes") > 30.0 * MIB, "{still}");
    // Between two readings of the mappings, the parts are estimates.
    assert!(
        number(still, "/parts/plugins_linear") > 36.0 * MIB,
        "{still}"
    );
    let why = still["why"].as_str().unwrap();
    assert!(
        why.contains("linear memory of plugins that retain objects"),
        "{still}"
    );
    let after = lab.leak("cache").await;
    assert_eq!(after["count"], json!(400));
    assert_eq!(after["generation"], before["generation"]);
}

#[tokio::test]
async fn exercise_6_clear_all_counts_the_removed_objects_of_each_leak() {
    let lab = Lab::with(&LAB).start().await;
    for (requests, leak) in [(5, "cache"), (7, "listeners"), (11, "history")] {
        lab.enable(leak).await;
        lab.traffic(requests).await;
        lab.disable(leak).await;
    }
    let cleared = lab.clear("all").await;
    assert_eq!(cleared["cleared"], json!("all"));
    assert_eq!(
        cleared["removed"],
        json!({"cache": 5, "listeners": 7, "history": 11})
    );
    assert_eq!(cleared["total_removed"], json!(23));
    assert!(number(&cleared, "/freed_bytes") > 0.0);
    for leak in LAB {
        assert_eq!(lab.leak(leak).await["count"], json!(0), "{leak}");
    }
}

#[tokio::test]
async fn exercise_6_one_request_runs_all_leaks_in_the_order_of_their_ids() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    let data = lab.data().await;
    assert_eq!(
        data["leaks_triggered"],
        json!(["cache", "history", "listeners"])
    );
}

#[tokio::test]
async fn the_fixed_variants_stop_growing() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        let settings = json!({"enabled": true, "variant": "fixed", "payload_bytes": 65536});
        lab.configure(leak, settings).await;
    }
    lab.traffic(1500).await;
    let settled = lab.get("/admin/leaks/status").await;
    lab.traffic(1500).await;
    for leak in LAB {
        let before = number(&settled["leaks"][leak], "/linear_memory_bytes");
        let now = lab.leak(leak).await;
        assert_eq!(now["variant"], json!("fixed"));
        assert!(
            number(&now, "/linear_memory_bytes") <= before + 0.25 * MIB,
            "{leak}: {now}"
        );
    }
}
