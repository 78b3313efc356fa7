//! The ledger of resident memory while memory grows faster than it can be read, and after it went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;
use xtask_hostile::{Plugin, many_functions};

use crate::hostile::lab_with;
use crate::lab::{Answer, Lab, MIB, WAIT_TIMEOUT, wait_until};

/// The most of the resident memory that the ledger may count wrongly.
const MAX_SHARE: f64 = 0.05;

/// What a busy host has in stacks and freed pages, in bytes.
const SLACK: f64 = 3.0 * MIB;

/// Bytes that one call of the filler fills.
const CALL_BYTES: f64 = 64.0 * MIB;

/// 54 calls fill 3.4 GiB, the last of them above 3 GiB.
const CALLS: usize = 54;

/// A plugin with 3.4 GiB of memory. Each call fills the next 64 MiB of it.
const FILLER: Plugin<'_> = Plugin {
    id: "filler",
    imports: "",
    fields: "(global $at (mut i32) (i32.const 131072))",
    start: "(drop (memory.grow (i32.const 56000)))",
    describe: "",
    on_request: "(memory.fill (global.get $at) (i32.const 7) (i32.const 67108864))
        (global.set $at (i32.add (global.get $at) (i32.const 67108864)))",
    clear: "",
};

/// The parts of the ledger in bytes: all of them, linear memory, what is not attributed.
struct Reading {
    resident: f64,
    linear: f64,
    unattributed: f64,
}

/// Reads the ledger, and checks what always holds.
fn check(memory: &Value) -> Reading {
    let ledger = memory["ledger"].as_object().unwrap();
    let of = |part: &str| ledger[part].as_f64().unwrap();
    let parts = ledger
        .iter()
        .filter(|(name, _)| name.ends_with("_bytes") && name.as_str() != "rss_bytes");
    let mut sum = 0.0;
    for (name, bytes) in parts {
        let bytes = bytes.as_f64().unwrap();
        assert!(bytes >= 0.0, "{name} is negative: {ledger:?}");
        sum += bytes;
    }
    assert_eq!(sum, of("rss_bytes"), "{ledger:?}");
    Reading {
        resident: of("rss_bytes"),
        linear: of("plugins_linear_bytes"),
        unattributed: of("unattributed_bytes"),
    }
}

/// Reads the ledger again and again until `done`. Returns the worst share that is not attributed.
async fn read_all_the_time(http: Client, url: String, done: Arc<AtomicBool>) -> (usize, f64) {
    let (mut readings, mut worst) = (0, 0.0_f64);
    while !done.load(Ordering::SeqCst) {
        let memory: Value = http.get(&url).send().await.unwrap().json().await.unwrap();
        let reading = check(&memory);
        readings += 1;
        worst = worst.max((reading.unattributed - SLACK) / reading.resident);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (readings, worst)
}

#[tokio::test]
async fn the_ledger_holds_while_a_plugin_fills_more_than_3_gib() {
    let lab = lab_with(&FILLER, &["cache"]).args(["--plugin-deadline", "20s"]);
    let lab = lab.start().await;
    lab.enable("filler").await;
    check(&lab.get("/admin/memory?all=true").await);
    let before = check(&lab.get("/admin/memory?all=true").await).linear;
    let done = Arc::new(AtomicBool::new(false));
    let reader = read_all_the_time(
        lab.http().clone(),
        lab.url("/admin/memory?all=true"),
        done.clone(),
    );
    let reader = tokio::spawn(reader);
    for call in 1..=CALLS {
        assert_eq!(
            lab.data().await["leaks_triggered"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let reading = check(&lab.get("/admin/memory?all=true").await);
        let filled = call as f64 * CALL_BYTES;
        let wrong = (reading.linear - before - filled).abs();
        assert!(
            wrong < MAX_SHARE * reading.resident + SLACK,
            "{filled} filled, {} counted",
            reading.linear
        );
    }
    done.store(true, Ordering::SeqCst);
    let (readings, worst) = reader.await.unwrap();
    println!(
        "{readings} readings, at most {:.2} % not attributed",
        worst * 100.0
    );
    assert!(worst < MAX_SHARE, "{worst}");
    assert!(readings > 20, "{readings}");

    // All of it goes when the plugin goes.
    let deleted = lab.request(Method::DELETE, "/admin/plugins/filler");
    assert!(Answer::of(deleted).await.status.is_success());
    wait_until("the memory is given back", WAIT_TIMEOUT, async || {
        let reading = check(&lab.get("/admin/memory?all=true").await);
        lab.resident_bytes() < 200.0 * MIB && reading.linear < before + SLACK
    })
    .await;
}

#[tokio::test]
async fn the_ledger_holds_after_refused_uploads() {
    let lab = Lab::with(&["cache"]).start().await;
    lab.enable("cache").await;
    lab.traffic(20).await;
    for component in [vec![0; 32 << 20], many_functions(200_000), b"none".to_vec()] {
        let request = lab
            .request(Method::PUT, "/admin/plugins/bomb")
            .body(component);
        assert_eq!(Answer::of(request).await.status, 422);
        let reading = check(&lab.get("/admin/memory?all=true").await);
        assert!(
            reading.unattributed < MAX_SHARE * reading.resident + SLACK,
            "{} of {}",
            reading.unattributed,
            reading.resident
        );
    }
}
