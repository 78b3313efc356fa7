//! Loading and unloading while requests come in: nobody notices, and nothing is left behind.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;

use super::{delete, put, series_of};
use crate::components::{component, renamed};
use crate::lab::{Lab, MIB};

/// Loads and unloads before memory is looked at: allocators and caches have what they need then.
const WARM_UP: usize = 15;
/// Those that count. `cargo xtask bench reload` does a thousand.
const ROUNDS: usize = 40;
/// What resident memory may differ by before and after.
const RSS_TOLERANCE: f64 = 5.0 * MIB;

/// Threads, open files and mappings of the host.
fn held(lab: &Lab) -> [usize; 3] {
    let entries = |of: &str| fs::read_dir(lab.proc().join(of)).unwrap().count();
    let maps = fs::read_to_string(lab.proc().join("maps")).unwrap();
    [entries("task"), entries("fd"), maps.lines().count()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_come_and_go_under_load() {
    let lab = Lab::with(&["cache", "fixture-chatty"]).start().await;
    lab.post(
        "/admin/leaks/cache",
        serde_json::json!({"enabled": true, "variant": "fixed"}),
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| tokio::spawn(client(lab.url("/api/data"), stop.clone(), served.clone())))
        .collect();

    let version = [
        fs::read(component("history")).unwrap(),
        renamed("history", "futures"),
    ];
    let round = async |n: usize| {
        let ids = ["history", "futures"];
        for (id, component) in ids.iter().zip(&version) {
            let loaded = put(&lab, id, component.clone()).await;
            assert!(loaded.status.is_success(), "{n}: {}", loaded.text);
            lab.enable(id).await;
        }
        // In flight on the old one, and then on the new one.
        let replaced = put(&lab, "history", version[0].clone()).await;
        assert_eq!(replaced.status, 200, "{n}: {}", replaced.text);
        for id in ids {
            let gone = delete(&lab, id).await;
            assert_eq!(gone.status, 200, "{n}: {}", gone.text);
        }
    };
    for n in 0..WARM_UP {
        round(n).await;
    }
    let (before, held_before) = (settled_rss(&lab).await, held(&lab));
    for n in 0..ROUNDS {
        round(n).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let failed = client.await.unwrap();
        assert_eq!(failed, Vec::<String>::new());
    }
    assert!(served.load(Ordering::Relaxed) > 200, "there was load");
    let (after, held_after) = (settled_rss(&lab).await, held(&lab));
    assert!(
        after - before < RSS_TOLERANCE,
        "resident bytes: {before} before, {after} after"
    );
    for (what, before, after) in [
        ("threads", held_before[0], held_after[0]),
        ("open files", held_before[1], held_after[1]),
        // The allocator makes and drops some of its own.
        ("mappings", held_before[2] + 40, held_after[2]),
    ] {
        // Connections and blocking threads come and go by themselves.
        assert!(
            after <= before + 8,
            "{what}: {before} before, {after} after"
        );
    }
    for id in ["history", "futures"] {
        assert_eq!(series_of(&lab, id).await, 0, "{id}");
    }
}

/// Sends requests until told to stop; answers what went wrong.
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
            Ok(data)
                if data["leaks_failed"]
                    .as_array()
                    .is_some_and(|f| !f.is_empty()) =>
            {
                failed.push(data["leaks_failed"].to_string());
            }
            Ok(_) => drop(served.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    failed
}

/// Resident memory after what can be given back has been given back; the least of some readings, since the sampler and
/// the readings themselves take some.
async fn settled_rss(lab: &Lab) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lab.post("/admin/gc", serde_json::json!({})).await;
        least = least.min(lab.resident_bytes());
    }
    least
}
