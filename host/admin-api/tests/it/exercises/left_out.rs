//! Each step of each exercise left out in turn: what the host says is missing.

use axum::http::Method;
use serde_json::json;
use test_support::TestHost;
use test_support::components::LAB;

use super::{missing, verify};

/// A step, what a learner does for it, and the steps that are missing if it is left out.
struct Step {
    id: &'static str,
    calls: &'static [Call],
    missing: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Call {
    Get(&'static str),
    Gc,
    Send(usize),
    On(&'static str),
    Off(&'static str),
    Clear(&'static str),
}

use Call::{Clear, Gc, Get, Off, On, Send};

const STATUS: Call = Get("/admin/leaks/status");
const MEMORY: Call = Get("/admin/memory");
const DIFF: Call = Get("/admin/memory/diff");
const SNAPSHOT: Call = Get("/admin/memory/snapshot");

const fn step(id: &'static str, calls: &'static [Call], missing: &'static [&'static str]) -> Step {
    Step { id, calls, missing }
}

/// The exercises as the README has them. Where a later call is the same as the one that was left
/// out, the host takes it for that one, and the later step is missing: without the first look at
/// the memory, the second look is the first.
const STEPS: [Step; 22] = [
    step("1.1", &[STATUS], &["1.1"]),
    step("1.2", &[MEMORY], &["1.4"]),
    step("1.3", &[Send(100)], &["1.3", "1.4"]),
    step("1.4", &[MEMORY], &["1.4"]),
    step("2.1", &[On("cache")], &["2.1", "2.2", "2.3"]),
    step("2.2", &[Send(1000)], &["2.2", "2.3"]),
    step("2.3", &[STATUS], &["2.3"]),
    step("3.1", &[Send(500)], &["3.1", "3.2"]),
    step("3.2", &[STATUS], &["3.2"]),
    step("4.1", &[DIFF], &["4.2", "4.3"]),
    step("4.2", &[Send(200)], &["4.2", "4.3"]),
    step("4.3", &[DIFF], &["4.3"]),
    step("4.4", &[SNAPSHOT], &["4.4"]),
    step("5.1", &[Clear("cache")], &["5.1", "5.2", "5.3", "5.4"]),
    step("5.2", &[Gc], &["5.2"]),
    step("5.3", &[Off("cache")], &["5.3", "5.4"]),
    step("5.4", &[Send(500)], &["5.4"]),
    step("6.1", &[On("listeners"), Send(500)], &["6.1", "6.2"]),
    step("6.2", &[Clear("listeners"), Off("listeners")], &["6.2"]),
    step("6.3", &[On("history"), Send(500)], &["6.3", "6.4"]),
    step("6.4", &[Clear("history"), Off("history")], &["6.4"]),
    step(
        "6.5",
        &[On("cache"), On("listeners"), On("history"), Send(100)],
        &["6.5"],
    ),
];

fn is_of(step: &Step, exercise: usize) -> bool {
    step.id.starts_with(&format!("{exercise}."))
}

async fn make(host: &TestHost, call: Call) {
    let switch = async |leak: &str, enabled: bool| {
        let path = format!("/admin/leaks/{leak}");
        host.post(&path, json!({ "enabled": enabled })).await;
    };
    match call {
        Get(path) => drop(host.get(path).await),
        Gc => drop(host.post("/admin/gc", json!({})).await),
        Send(requests) => host.traffic(requests).await,
        On(leak) => switch(leak, true).await,
        Off(leak) => switch(leak, false).await,
        Clear(leak) => {
            let body = json!({ "leak_type": leak });
            host.post("/admin/leaks/clear", body).await;
        }
    }
}

/// Does the steps of one exercise, without the one that is left out.
pub(super) async fn do_exercise(host: &TestHost, exercise: usize, left_out: Option<&str>) {
    let steps = STEPS.iter().filter(|step| is_of(step, exercise));
    for step in steps.filter(|step| Some(step.id) != left_out) {
        for call in step.calls {
            make(host, *call).await;
        }
    }
}

#[tokio::test]
async fn each_step_that_is_left_out_is_named() {
    let host = TestHost::with(&LAB).start().await;
    for exercise in 1..=6 {
        for left_out in STEPS.iter().filter(|step| is_of(step, exercise)) {
            host.post("/admin/reset", json!({})).await;
            let start_over = host.request(Method::DELETE, "/admin/exercises");
            start_over.send().await.ok("start over");
            for earlier in 1..exercise {
                do_exercise(&host, earlier, None).await;
            }
            do_exercise(&host, exercise, Some(left_out.id)).await;
            let answer = verify(&host, exercise).await;
            assert_eq!(answer["done"], json!(false), "without {}", left_out.id);
            assert_eq!(
                missing(&answer),
                left_out.missing,
                "without {}: {answer:#}",
                left_out.id
            );
        }
    }
}
