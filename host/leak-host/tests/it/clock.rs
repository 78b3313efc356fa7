//! A wall clock that jumps, as in a virtual machine after a suspend: the host keeps running, and
//! everything that it measures in seconds follows the time that really passes.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::lab::{Lab, failures, number, wait_until};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The time to live of the leak. Longer than the steps before and after the first jump take.
const TTL: Duration = Duration::from_secs(12);

/// A preloaded library that offsets the wall clock by the number of seconds in a file.
struct Clock {
    folder: TempDir,
    library: PathBuf,
}

impl Clock {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let library = folder.path().join("clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clock/preload.rs");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let built = Command::new(rustc)
            .args([
                "--edition=2024",
                "--crate-type=cdylib",
                "-Copt-level=1",
                "-o",
            ])
            .args([&library, &source])
            .status()
            .expect("rustc starts");
        assert!(built.success());
        let clock = Self { folder, library };
        fs::write(clock.offset_file(), [0; 8]).unwrap();
        clock
    }

    fn offset_file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Sets how many seconds the wall clock is ahead from now on.
    fn set_offset(&self, seconds: i64) {
        let file = OpenOptions::new().write(true).open(self.offset_file());
        file.unwrap()
            .write_all_at(&seconds.to_ne_bytes(), 0)
            .unwrap();
    }
}

/// The host's date.
async fn date(lab: &Lab) -> String {
    let data = lab.data().await;
    assert!(failures(&data).is_empty(), "{data}");
    let timestamp = data["data"]["timestamp"].as_str().unwrap();
    timestamp[..10].to_owned()
}

/// Asserts everything that must hold with any wall clock.
async fn assert_works(lab: &Lab, requests: usize) {
    // The sampler takes one reading a second, so there are readings after the jump.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let history = lab.leak("history").await;
    assert_eq!(number(&history, "/count"), requests as f64, "{history}");
    let diff = lab.get("/admin/memory/diff?since=1m").await;
    let gained = number(&diff, "/plugins/history/retained_objects_diff");
    assert_eq!(gained, requests as f64, "{diff}");
    lab.get("/admin/memory").await;
    lab.get("/admin/memory/history").await;
    lab.metrics_page().await;
    assert!(!lab.output().contains("panicked"), "{}", lab.output());
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_changes_only_the_date() {
    let clock = Clock::new();
    let lab = Lab::with(&["cache", "history"])
        .env("LD_PRELOAD", clock.library.to_str().unwrap())
        .env("CLOCK_OFFSET", clock.offset_file().to_str().unwrap())
        .start()
        .await;
    lab.enable("history").await;
    let settings = json!({"enabled": true, "ttl_seconds": TTL.as_secs()});
    lab.configure("cache", settings).await;
    let enabled_at = Instant::now();
    // Sent first, so that the history begins before the first request.
    lab.get("/admin/memory/diff?since=1m").await;
    let first = date(&lab).await;
    lab.traffic(20).await;
    assert_works(&lab, 21).await;

    clock.set_offset(DAY_SECONDS);
    let second = date(&lab).await;
    assert!(second > first, "{second} is not after {first}");
    lab.traffic(20).await;
    assert_works(&lab, 42).await;
    let enabled = lab.leak("cache").await["enabled"] == json!(true);
    if enabled_at.elapsed() < TTL {
        assert!(enabled, "the time to live has not passed");
    }

    clock.set_offset(-DAY_SECONDS);
    let third = date(&lab).await;
    assert!(third < first, "{third} is not before {first}");
    lab.traffic(20).await;
    assert_works(&lab, 63).await;
    let left = (TTL + Duration::from_secs(5)).saturating_sub(enabled_at.elapsed());
    wait_until("the leak disables itself", left, async || {
        lab.leak("cache").await["enabled"] == json!(false)
    })
    .await;
    assert!(enabled_at.elapsed() >= TTL);
}
