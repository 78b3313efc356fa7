//! Resident memory as the API reports it, compared with the kernel's numbers for the process.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::components::LAB;
use crate::lab::{Lab, MIB, number};

#[tokio::test]
async fn the_reported_resident_memory_is_the_kernels() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    lab.traffic(50).await;
    // The first answer reads the plugins' symbols, which need some memory themselves.
    lab.get("/admin/memory?all=true").await;
    let reported = number(
        &lab.get("/admin/memory?all=true").await,
        "/process/rss_bytes",
    );
    let resident = lab.resident_bytes();
    assert!(
        (resident - reported).abs() < 2.0 * MIB,
        "{reported} is near {resident}"
    );
}

#[tokio::test]
async fn the_ledger_counts_resident_memory_not_linear_memory() {
    let lab = Lab::with(&LAB).start().await;
    let read = async || {
        let memory = lab.get("/admin/memory?all=true").await;
        let granted: f64 = LAB
            .iter()
            .map(|leak| number(&memory, &format!("/plugins/{leak}/linear_memory_bytes")))
            .sum();
        let part = |part: &str| number(&memory, &format!("/ledger/{part}_bytes"));
        (granted, part("plugins_linear"), part("unattributed"))
    };
    // A reading may be from before the plugins were loaded, and it is kept for a moment.
    let started = Instant::now();
    let resident = loop {
        let (granted, resident, unattributed) = read().await;
        // Most of a fresh memory is an untouched stack.
        if resident > 0.0 && resident < granted / 2.0 && unattributed > -MIB {
            break resident;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{resident} of {granted} are resident, unattributed {unattributed}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    lab.post(
        "/admin/leaks/cache",
        json!({"enabled": true, "payload_bytes": 1_048_576}),
    )
    .await;
    lab.traffic(20).await;
    // On a busy machine a reading is cached for seconds.
    let started = Instant::now();
    loop {
        let (_, later, unattributed) = read().await;
        let gained = later - resident;
        if (gained - 20.0 * MIB).abs() < 2.0 * MIB && unattributed > -MIB {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "gained {gained}, unattributed {unattributed}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn gc_explains_what_stays_and_asks_to_clear_only_what_is_retained() {
    let lab = Lab::with(&LAB).start().await;
    let still_resident = async || lab.post("/admin/gc", json!({})).await["still_resident"].clone();
    lab.enable("cache").await;
    lab.traffic(1000).await;
    let kept = still_resident().await;
    let why = kept["why"].as_str().unwrap();
    assert!(why.contains("that retain objects (cache): clear"), "{kept}");

    lab.post("/admin/leaks/clear", json!({})).await;
    lab.post("/admin/leaks/cache", json!({"enabled": false}))
        .await;
    let kept = still_resident().await;
    let why = kept["why"].as_str().unwrap();
    assert!(!why.contains("clear"), "nothing is retained: {kept}");
    let parts = kept["parts"].as_object().unwrap();
    let sum: f64 = parts.values().map(|bytes| bytes.as_f64().unwrap()).sum();
    let above = number(&kept, "/above_start_bytes");
    assert!(above > 0.0 || parts.is_empty(), "{kept}");
    // Parts that are smaller than at the start are mentioned from 64 KiB up.
    let is_explained = why.contains("smaller than after the start");
    assert!(sum < above + 65_536.0 || is_explained, "{kept}");
}
