//! Calls within one instruction that takes seconds.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use xtask_hostile::Plugin;

use crate::hostile::lab_with;
use crate::lab::{Lab, WAIT_TIMEOUT, failures, wait_until};

/// The deadline of one call, the wait for the queue, and 500 ms for a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250 + 50 + 500);

/// Fills 3 GiB again and again. Each time takes about a second.
const FILLER: Plugin = Plugin {
    id: "filler",
    imports: "",
    fields: "",
    start: "",
    describe: "",
    on_request: "(drop (memory.grow (i32.const 49152)))
                 (loop $again
                   (memory.fill (i32.const 131072) (i32.const 7) (i32.const 3221225472))
                   (br $again))",
    clear: "",
};

async fn timed_request(lab: &Lab, path: &str) -> Duration {
    let started = Instant::now();
    let answer = lab.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.bytes().await.unwrap();
    started.elapsed()
}

#[tokio::test]
async fn an_instruction_of_seconds_delays_no_answer() {
    let lab = lab_with(&FILLER, &["cache"]).start().await;
    lab.enable("cache").await;
    lab.enable("filler").await;
    let started = Instant::now();
    let data = lab.data().await;
    assert!(
        started.elapsed() < ANSWER_TIMEOUT,
        "{:?}",
        started.elapsed()
    );
    assert_eq!(failures(&data)[0]["leak"], json!("filler"), "{data}");
    assert_eq!(data["leaks_triggered"], json!(["cache"]));

    // While the instruction runs, all other requests are answered, and the plugin is given up.
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        slowest = slowest.max(timed_request(&lab, "/health").await);
        slowest = slowest.max(timed_request(&lab, "/api/data").await);
    }
    assert!(slowest < ANSWER_TIMEOUT, "{slowest:?}");
    let faulted = async || lab.leak("filler").await["state"] == json!("faulted");
    wait_until("the plugin is given up", WAIT_TIMEOUT, faulted).await;
    let reason = lab.leak("filler").await["reason"].to_string();
    assert!(reason.contains("within 250 ms"), "{reason}");

    // When the instruction has ended, a reset starts a fresh instance.
    let reset = lab.reset("filler").await;
    assert_eq!(reset["generation"], 2);
    assert_eq!(lab.leak("filler").await["state"], "running");
}

#[tokio::test]
async fn many_requests_at_once_wait_no_longer() {
    let lab = lab_with(&FILLER, &["cache"]).start().await;
    lab.enable("cache").await;
    lab.enable("filler").await;
    let mut burst = JoinSet::new();
    for _ in 0..50 {
        let request = lab.request(Method::GET, "/api/data");
        burst.spawn(async move {
            let started = Instant::now();
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
            started.elapsed()
        });
    }
    let slowest = burst.join_all().await.into_iter().max().unwrap();
    assert!(slowest < ANSWER_TIMEOUT, "{slowest:?}");
}

#[tokio::test]
async fn an_admin_call_that_takes_seconds_delays_no_other_call() {
    let plugin = Plugin {
        id: "clearer",
        clear: "(drop (memory.grow (i32.const 49152)))
                (memory.fill (i32.const 131072) (i32.const 7) (i32.const 3221225472))
                (memory.fill (i32.const 131072) (i32.const 8) (i32.const 3221225472))",
        ..Plugin::default()
    };
    let lab = lab_with(&plugin, &["cache"]).start().await;
    lab.enable("cache").await;
    let body = json!({"leak_type": "clearer"}).to_string();
    let clear = lab.request(Method::POST, "/admin/leaks/clear").body(body);
    let clearing = tokio::spawn(clear.send());
    let mut slowest = Duration::ZERO;
    while !clearing.is_finished() {
        slowest = slowest.max(timed_request(&lab, "/api/data").await);
        slowest = slowest.max(timed_request(&lab, "/health").await);
    }
    assert!(slowest < ANSWER_TIMEOUT, "{slowest:?}");
    // 409 says that the call has taken too long, which depends on the machine.
    let status = clearing.await.unwrap().unwrap().status().as_u16();
    assert!(matches!(status, 200 | 409), "{status}");
}
