//! Loads and unloads during traffic: no request fails, and the host frees everything.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use super::{delete, put, series_of};
use crate::components::{component, renamed};
use crate::lab::{Lab, MIB, failures};

/// Rounds before the first measurement, so that allocators and caches have grown.
const WARM_UP: usize = 15;
/// Measured rounds. `cargo xtask bench reload` runs a thousand.
const ROUNDS: usize = 40;
/// The bound for the growth of resident memory over the measured rounds.
const RSS_TOLERANCE_BYTES: f64 = 5.0 * MIB;

/// Threads, open files and mappings of the host.
fn resources(lab: &Lab) -> [usize; 3] {
    let entries = |of: &str| fs::read_dir(lab.proc_folder().join(of)).unwrap().count();
    let maps = fs::read_to_string(lab.proc_folder().join("maps")).unwrap();
    [entries("task"), entries("fd"), maps.lines().count()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_and_unloads_under_load_fail_no_request_and_leak_nothing() {
    let lab = Lab::with(&["cache", "fixture-chatty"]).start().await;
    lab.configure("cache", json!({"enabled": true, "variant": "fixed"}))
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| tokio::spawn(client(lab.url("/api/data"), stop.clone(), served.clone())))
        .collect();

    let components = [
        fs::read(component("history")).unwrap(),
        renamed("history", "futures"),
    ];
    let round = async |n: usize| {
        let ids = ["history", "futures"];
        for (id, component) in ids.iter().zip(&components) {
            let loaded = put(&lab, id, component.clone()).await;
            assert!(loaded.status.is_success(), "{n}: {}", loaded.text);
            lab.enable(id).await;
        }
        // Requests are running in the old instance, and then in the new one.
        let replaced = put(&lab, "history", components[0].clone()).await;
        assert_eq!(replaced.status, 200, "{n}: {}", replaced.text);
        for id in ids {
            let unloaded = delete(&lab, id).await;
            assert_eq!(unloaded.status, 200, "{n}: {}", unloaded.text);
        }
    };
    for n in 0..WARM_UP {
        round(n).await;
    }
    let (before, resources_before) = (settled_rss(&lab).await, resources(&lab));
    for n in 0..ROUNDS {
        round(n).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let failed = client.await.unwrap();
        assert_eq!(failed, Vec::<String>::new());
    }
    assert!(served.load(Ordering::Relaxed) > 200, "too few requests");
    let (after, resources_after) = (settled_rss(&lab).await, resources(&lab));
    assert!(
        after - before < RSS_TOLERANCE_BYTES,
        "resident bytes: {before} before, {after} after"
    );
    for (what, before, after) in [
        ("threads", resources_before[0], resources_after[0]),
        ("open files", resources_before[1], resources_after[1]),
        // The allocator adds and removes mappings of its own.
        ("mappings", resources_before[2] + 40, resources_after[2]),
    ] {
        // Connections and blocking threads come and go independently.
        assert!(
            after <= before + 8,
            "{what}: {before} before, {after} after"
        );
    }
    for id in ["history", "futures"] {
        assert_eq!(series_of(&lab, id).await, 0, "{id}");
    }
}

/// Sends requests until `stop` is set. Returns every failure.
async fn client(url: String, stop: Arc<AtomicBool>, served: Arc<AtomicUsize>) -> Vec<String> {
    let http = Client::new();
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = async {
            let answer = http.get(&url).send().await?.error_for_status()?;
            answer.json::<Value>().await
        };
        match answer.await {
            Err(error) => failed.push(error.to_string()),
            Ok(data) if !failures(&data).is_empty() => failed.push(data.to_string()),
            Ok(_) => drop(served.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    failed
}

/// Resident bytes after `/admin/gc`. The minimum of five readings, because the sampler and the
/// readings themselves use some memory.
async fn settled_rss(lab: &Lab) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lab.post("/admin/gc", json!({})).await;
        least = least.min(lab.resident_bytes());
    }
    least
}
