//! The invariant that `/api/data` answers within the deadline of one call and 50 ms, whatever a
//! plugin does.
//!
//! Each test measures the noise of the machine in the same run: by how much timers of the test are
//! late, which shares nothing with the host but the processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use xtask_hostile::Plugin;

use crate::hostile::lab_with;
use crate::lab::{Answer, Lab, LabBuilder, wait_for};

/// The deadline of one call and the grace time of the queue.
const PROMISED: Duration = Duration::from_millis(250 + 50);

/// What the client and the kernel take of each request on a quiet machine.
const OWN_TIME: Duration = Duration::from_millis(15);

/// Other processes can hold the processors for longer than a timer of the test notices, but not in
/// each of these runs. A host that breaks its promise breaks it in all of them.
const RUNS: usize = 3;

const MEASURED: Duration = Duration::from_secs(3);

/// Clients of `/api/data`, more than the machine has cores.
const CLIENTS: usize = 8;

/// The slowest requests of one run.
#[derive(Debug, Clone, Copy, Default)]
struct Slowest {
    data: Duration,
    health: Duration,
    timer: Duration,
}

impl Slowest {
    fn max(self, other: Slowest) -> Slowest {
        Slowest {
            data: self.data.max(other.data),
            health: self.health.max(other.health),
            timer: self.timer.max(other.timer),
        }
    }

    fn limit(self) -> Duration {
        PROMISED + OWN_TIME + 2 * self.timer
    }
}

/// Asserts that the slowest request of a run is within the limit.
async fn check(what: &str, run: impl AsyncFn() -> Slowest) {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let slowest = run().await;
        // Shown with --no-capture: how far the machine was from the limit.
        eprintln!("{what}: {slowest:?}, the limit is {:?}", slowest.limit());
        if slowest.data <= slowest.limit() {
            return;
        }
        runs.push((slowest, slowest.limit()));
    }
    panic!("{what}: slowest and limit of each run: {runs:?}");
}

async fn timed(lab: &Lab, path: &str) -> Duration {
    let started = Instant::now();
    let answer = Answer::of(lab.request(Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    started.elapsed()
}

/// Sends requests until `done`, and measures the noise of the machine.
async fn measure(lab: &Arc<Lab>, done: impl Fn() -> bool + Clone + Send + 'static) -> Slowest {
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        let (lab, done) = (lab.clone(), done.clone());
        tasks.spawn(async move {
            let mut slowest = Slowest::default();
            while !done() {
                slowest.data = slowest.data.max(timed(&lab, "/api/data").await);
            }
            slowest
        });
    }
    let (health, finished) = (lab.clone(), done.clone());
    tasks.spawn(async move {
        let mut slowest = Slowest::default();
        while !finished() {
            slowest.health = slowest.health.max(timed(&health, "/health").await);
        }
        slowest
    });
    tasks.spawn(async move {
        let (mut slowest, pause) = (Slowest::default(), Duration::from_millis(5));
        while !done() {
            let started = Instant::now();
            tokio::time::sleep(pause).await;
            slowest.timer = slowest.timer.max(started.elapsed() - pause);
        }
        slowest
    });
    let all = tasks.join_all().await;
    all.into_iter().fold(Slowest::default(), Slowest::max)
}

/// The slowest requests while a plugin is on.
async fn slowest_with(lab: LabBuilder, plugin: &str, settings: &Value) -> Slowest {
    let lab = Arc::new(lab.start().await);
    lab.enable("cache").await;
    lab.data().await;
    lab.configure(plugin, settings.clone()).await;
    let until = Instant::now() + MEASURED;
    measure(&lab, move || Instant::now() >= until).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_computes_delays_no_request_beyond_its_deadline() {
    for busy_ms in [20, 200, 400] {
        let settings = json!({"enabled": true, "busy_ms": busy_ms});
        check(&format!("{busy_ms} ms of work"), async || {
            let lab = Lab::with(&["cache", "fixture-slow"]);
            slowest_with(lab, "fixture-slow", &settings).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_waits_delays_no_request_beyond_its_deadline() {
    for sleep_ms in [40, 200, 10_000] {
        let settings = json!({"enabled": true, "sleep_ms": sleep_ms});
        check(&format!("{sleep_ms} ms of sleep"), async || {
            let lab = Lab::with(&["cache", "fixture-sleeps"]);
            slowest_with(lab, "fixture-sleeps", &settings).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instruction_of_seconds_delays_no_request_beyond_the_deadline() {
    let plugin = Plugin {
        id: "filler",
        on_request: "(drop (memory.grow (i32.const 49152)))
                     (loop $again
                       (memory.fill (i32.const 131072) (i32.const 7) (i32.const 3221225472))
                       (br $again))",
        ..Plugin::default()
    };
    let settings = json!({"enabled": true});
    check("a fill", async || {
        slowest_with(lab_with(&plugin, &["cache"]), "filler", &settings).await
    })
    .await;
}

/// A clear has a deadline of 10 s, and this one does not come back for longer: it fills 3 GiB
/// without a place at which the engine could interrupt it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_that_does_not_return_is_given_up_and_delays_no_request() {
    check("a clear", slowest_during_clear).await;
}

async fn slowest_during_clear() -> Slowest {
    let fill = "(memory.fill (i32.const 131072) (i32.const 7) (i32.const 3221225472)) ";
    let clear = format!(
        "(drop (memory.grow (i32.const 49152))) {}",
        fill.repeat(120)
    );
    let plugin = Plugin {
        id: "clearer",
        clear: &clear,
        ..Plugin::default()
    };
    let lab = Arc::new(lab_with(&plugin, &["cache"]).start().await);
    lab.enable("cache").await;
    lab.enable("clearer").await;
    let cleared = Arc::new(AtomicBool::new(false));
    let clearing = {
        let (lab, cleared) = (lab.clone(), cleared.clone());
        tokio::spawn(async move {
            let body = json!({"leak_type": "clearer"}).to_string();
            let started = Instant::now();
            let request = lab.request(Method::POST, "/admin/leaks/clear").body(body);
            let answer = Answer::of(request).await;
            cleared.store(true, Ordering::SeqCst);
            (answer, started.elapsed())
        })
    };
    let slowest = measure(&lab, move || cleared.load(Ordering::SeqCst)).await;
    let (answer, took) = clearing.await.unwrap();
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(answer.error_code("clear"), "plugin_not_running");
    let expected = Duration::from_secs(10)..Duration::from_secs(13);
    assert!(expected.contains(&took), "{took:?}");
    let leak = lab.leak("clearer").await;
    assert_eq!(leak["state"], "faulted");
    wait_for("other calls work", Duration::from_secs(5), async || {
        let answer = Answer::of(lab.request(Method::GET, "/admin/memory/snapshot")).await;
        (answer.status == 200).then_some(()).ok_or(answer.text)
    })
    .await;
    slowest
}
