//! The cost of reading the heap profile. A reader must not change the readings.

use std::time::Instant;

use serde_json::json;

use crate::components::LAB;
use crate::lab::{Lab, MIB, number};

/// Resident bytes, and the part of them that the ledger explains and that reading may add: symbols
/// and histories of the plugins, and pages of the host's own program that it had not used before.
/// Both numbers are from one answer, since the host reads more symbols between two answers.
async fn resident_and_explained(lab: &Lab) -> (f64, f64) {
    let memory = lab.get("/admin/memory?all=true").await;
    let explained = ["symbols", "history", "code"]
        .iter()
        .map(|part| number(&memory, &format!("/ledger/{part}_bytes")))
        .sum();
    (number(&memory, "/ledger/rss_bytes"), explained)
}

async fn read_profile(lab: &Lab, times: usize) {
    for _ in 0..times {
        lab.get("/admin/memory/snapshot").await;
        lab.get("/admin/memory/diff").await;
        lab.get("/admin/memory/history").await;
    }
}

#[tokio::test]
async fn reading_the_profile_adds_only_memory_that_the_ledger_explains() {
    let lab = Lab::with(&LAB).start().await;
    lab.traffic(200).await;
    let (resident_before, explained_before) = resident_and_explained(&lab).await;
    read_profile(&lab, 1).await;
    let (resident_once, explained_once) = resident_and_explained(&lab).await;
    read_profile(&lab, 199).await;
    let (resident, explained) = resident_and_explained(&lab).await;
    let grown = resident - resident_before;
    // The host frees some of this memory after a few seconds, but the allocator keeps the pages.
    let explained = explained.max(explained_once) - explained_before;
    println!(
        "200 reads: RSS grew by {:.2} MiB, {:.2} MiB of it explained, {:.2} MiB since the first",
        grown / MIB,
        explained / MIB,
        (resident - resident_once) / MIB
    );
    assert!(explained > 0.0, "the ledger contains the symbols");
    assert!(
        grown <= explained + 2.0 * MIB,
        "{grown} bytes of growth, {explained} bytes explained"
    );
}

/// The heap tables are not part of the plugin's memory and do not count against its limit.
#[tokio::test]
async fn the_heap_tables_use_no_memory_of_the_plugin() {
    let mut readings = Vec::new();
    for profile in ["exact", "off"] {
        let lab = Lab::with(&LAB).args(["--heap-profile", profile]);
        let lab = lab.start().await;
        for leak in LAB {
            lab.enable(leak).await;
        }
        lab.traffic(500).await;
        let memory = lab.get("/admin/memory?all=true").await;
        let mut sizes = Vec::new();
        for leak in LAB {
            let plugin = &memory["plugins"][leak];
            sizes.push(number(plugin, "/linear_memory_bytes"));
            sizes.push(number(plugin, "/peak_linear_memory_bytes"));
            sizes.push(number(plugin, "/retained_bytes"));
            let profiler = number(plugin, "/profiler_bytes");
            assert_eq!(profiler > 0.0, profile == "exact", "{leak}: {plugin}");
        }
        lab.reset("cache").await;
        let limit = json!({"memory_limit_mb": 4, "payload_bytes": 16384});
        lab.configure("cache", limit).await;
        let mut requests = 0.0;
        while lab.leak("cache").await["state"] == json!("running") {
            lab.data().await;
            requests += 1.0;
            assert!(requests < 1000.0, "the host enforces the limit");
        }
        sizes.push(requests);
        sizes.push(number(&lab.leak("cache").await, "/linear_memory_bytes"));
        readings.push(sizes);
    }
    assert_eq!(readings[0], readings[1], "exact and off");
}

#[tokio::test]
async fn a_snapshot_is_quick_once_the_symbols_are_known() {
    let lab = Lab::with(&LAB).start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    lab.traffic(200).await;
    lab.get("/admin/memory/snapshot").await;
    let mut took: Vec<_> = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        let snapshot = lab.get("/admin/memory/snapshot").await;
        took.push(started.elapsed());
        assert!(number(&snapshot, "/total_traced_bytes") > 0.0);
    }
    took.sort_unstable();
    // Only printed: on a busy machine an assertion would fail.
    println!(
        "GET /admin/memory/snapshot: median {:?}, worst {:?}",
        took[25], took[49]
    );
}
