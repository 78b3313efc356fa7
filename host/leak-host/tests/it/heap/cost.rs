//! What looking costs: the observer is not to be seen in what is observed.

use std::time::Instant;

use serde_json::json;

use crate::components::LAB;
use crate::lab::{Lab, MIB, number};

/// What is resident, and what of it looking may take by the host's own account: what it knows of the
/// plugins, and the pages of its own program that it had not needed before. Of one moment both, since the
/// host goes on learning between two answers.
async fn resident_and_accounted(lab: &Lab) -> (f64, f64) {
    let memory = lab.get("/admin/memory").await;
    let accounted = ["symbols", "history", "code"]
        .iter()
        .map(|part| number(&memory, &format!("/ledger/{part}_bytes")))
        .sum();
    (number(&memory, "/ledger/rss_bytes"), accounted)
}

async fn look(lab: &Lab, times: usize) {
    for _ in 0..times {
        lab.get("/admin/memory/snapshot").await;
        lab.get("/admin/memory/diff").await;
        lab.get("/admin/memory/history").await;
    }
}

#[tokio::test]
async fn looking_does_not_grow_what_is_looked_at() {
    let lab = Lab::with(&LAB).start().await;
    lab.traffic(200).await;
    let (resident, known) = resident_and_accounted(&lab).await;
    look(&lab, 1).await;
    let (once, most) = resident_and_accounted(&lab).await;
    look(&lab, 199).await;
    let (at_last, accounted) = resident_and_accounted(&lab).await;
    // What is forgotten again after some seconds stays with the allocator.
    let (grown, learned) = (at_last - resident, accounted.max(most) - known);
    println!(
        "200 looks: RSS grew by {:.2} MiB, {:.2} MiB of it accounted for, {:.2} MiB since the first",
        grown / MIB,
        learned / MIB,
        (at_last - once) / MIB
    );
    assert!(learned > 0.0, "symbols were read and are accounted for");
    assert!(
        grown <= learned + 2.0 * MIB,
        "{grown} bytes of growth, {learned} bytes explained"
    );
}

/// The profiler's tables are neither the plugin's memory nor do they count against its limit.
#[tokio::test]
async fn the_profiler_takes_nothing_from_the_plugin() {
    let mut seen = Vec::new();
    for profile in ["exact", "off"] {
        let lab = Lab::with(&LAB)
            .arg("--heap-profile")
            .arg(profile)
            .start()
            .await;
        for leak in LAB {
            lab.enable(leak).await;
        }
        lab.traffic(500).await;
        let memory = lab.get("/admin/memory").await;
        let mut sizes = Vec::new();
        for leak in LAB {
            let plugin = &memory["plugins"][leak];
            sizes.push(number(plugin, "/linear_memory_bytes"));
            sizes.push(number(plugin, "/peak_linear_memory_bytes"));
            sizes.push(number(plugin, "/retained_bytes"));
            let profiler = number(plugin, "/profiler_bytes");
            assert_eq!(profiler > 0.0, profile == "exact", "{leak}: {plugin}");
        }
        lab.post("/admin/leaks/cache/reset", json!({})).await;
        let limit = json!({"memory_limit_mb": 4, "payload_bytes": 16384});
        lab.post("/admin/leaks/cache", limit).await;
        let mut requests = 0.0;
        while lab.leak("cache").await["state"] == json!("running") {
            lab.data().await;
            requests += 1.0;
            assert!(requests < 1000.0, "the limit is enforced");
        }
        sizes.push(requests);
        sizes.push(number(&lab.leak("cache").await, "/linear_memory_bytes"));
        seen.push(sizes);
    }
    assert_eq!(seen[0], seen[1], "exact and off");
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
    // A figure to read, not to fail on: the machine may have other things to do.
    println!(
        "GET /admin/memory/snapshot: median {:?}, worst {:?}",
        took[25], took[49]
    );
}
