//! A wall clock that jumps, as virtual machines that were suspended have: the host goes on, and what it counts in seconds
//! takes the seconds that really pass.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::lab::{Lab, failures, number};

const DAY: i64 = 24 * 60 * 60;

/// How long the leak stays on. Longer than what is done on either side of the first jump takes.
const TTL: Duration = Duration::from_secs(12);

/// A wall clock that is set by a file.
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
        fs::write(clock.file(), [0; 8]).unwrap();
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }

    /// Seconds that it is ahead from now on.
    fn set_ahead(&self, seconds: i64) {
        let file = OpenOptions::new().write(true).open(self.file()).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// The day that the host thinks it is.
async fn day(lab: &Lab) -> String {
    let data = lab.data().await;
    assert!(failures(&data).is_empty(), "{data}");
    let timestamp = data["data"]["timestamp"].as_str().unwrap();
    timestamp[..10].to_owned()
}

/// What must be right whatever the clock says.
async fn goes_on(lab: &Lab, requests: usize) {
    // So that there are readings on this side of the jump.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let history = lab.leak("history").await;
    assert_eq!(number(&history, "/count"), requests as f64, "{history}");
    let diff = lab.get("/admin/memory/diff?since=1m").await;
    let gained = number(&diff, "/plugins/history/retained_objects_diff");
    assert_eq!(gained, requests as f64, "{diff}");
    lab.get("/admin/memory").await;
    lab.get("/admin/memory/history").await;
    let metrics = lab.http().get(lab.url("/metrics")).send().await.unwrap();
    assert!(metrics.status().is_success());
    assert!(!lab.output().contains("panicked"), "{}", lab.output());
}

#[tokio::test]
async fn a_wall_clock_that_jumps_changes_nothing_but_the_date() {
    let clock = Clock::new();
    let lab = Lab::with(&["cache", "history"])
        .env("LD_PRELOAD", clock.library.to_str().unwrap())
        .env("CLOCK_AHEAD", clock.file().to_str().unwrap())
        .start()
        .await;
    lab.enable("history").await;
    lab.post(
        "/admin/leaks/cache",
        json!({"enabled": true, "ttl_seconds": TTL.as_secs()}),
    )
    .await;
    let switched_on = Instant::now();
    // So that the history begins before the first request.
    lab.get("/admin/memory/diff?since=1m").await;
    let first = day(&lab).await;
    lab.traffic(20).await;
    goes_on(&lab, 21).await;

    clock.set_ahead(DAY);
    let second = day(&lab).await;
    assert!(second > first, "{second} is not after {first}");
    lab.traffic(20).await;
    goes_on(&lab, 42).await;
    let on = lab.leak("cache").await["enabled"] == json!(true);
    if switched_on.elapsed() < TTL {
        assert!(on, "a day has not passed");
    }

    clock.set_ahead(-DAY);
    let third = day(&lab).await;
    assert!(third < first, "{third} is not before {first}");
    lab.traffic(20).await;
    goes_on(&lab, 63).await;
    while lab.leak("cache").await["enabled"] == json!(true) {
        assert!(
            switched_on.elapsed() < TTL + Duration::from_secs(5),
            "it stays on, although its time to live is over"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(switched_on.elapsed() >= TTL);
}
