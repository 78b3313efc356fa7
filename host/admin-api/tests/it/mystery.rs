//! The mystery: how it is played, and what is left when it has ended.

mod errors;
mod hiding;

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Answer, TestHost};
use tokio::time::{Instant, sleep};

const TOKEN: &str = "of-the-instructor";

/// Every plugin that can play, but for `history`: many answers have this word.
const ROSTER: [&str; 13] = [
    "cache",
    "fragmentation",
    "in-flight",
    "listeners",
    "metric-labels",
    "one-off-spike",
    "peak-buffers",
    "reference-cycle",
    "sawtooth",
    "sessions",
    "unbounded-queue",
    "uncancelled-timers",
    "warm-up",
];

async fn host() -> TestHost {
    TestHost::with(&ROSTER)
        .instructor_token(TOKEN)
        .start()
        .await
}

async fn call(host: &TestHost, method: Method, path: &str, body: &Value, token: bool) -> Answer {
    let request = host.request(method, path).json(body);
    let request = match token {
        true => request.header("authorization", &format!("Bearer {TOKEN}")),
        false => request,
    };
    request.send().await
}

/// Starts a game as the instructor.
async fn begin(host: &TestHost, seed: u64, difficulty: u8) -> Value {
    let order = json!({"seed": seed, "difficulty": difficulty, "duration": "10s"});
    let answer = call(host, Method::POST, "/admin/mystery", &order, true).await;
    answer.ok("begin")
}

async fn truth(host: &TestHost) -> Value {
    let answer = call(
        host,
        Method::GET,
        "/admin/mystery/truth",
        &Value::Null,
        true,
    )
    .await;
    answer.ok("truth")
}

async fn end(host: &TestHost) -> Value {
    let answer = call(host, Method::DELETE, "/admin/mystery", &Value::Null, true).await;
    answer.ok("end")
}

/// Waits for a time of the game.
async fn wait_until(host: &TestHost, seconds: f64) {
    let end = Instant::now() + Duration::from_secs(60);
    while host.get("/admin/mystery").await["elapsed_seconds"]
        .as_f64()
        .unwrap()
        < seconds
    {
        assert!(Instant::now() < end, "the game does not go on");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_is_the_same_game() {
    let host = host().await;
    let mut games = Vec::new();
    for seed in [5, 5, 6] {
        begin(&host, seed, 5).await;
        games.push(truth(&host).await["players"].clone());
        end(&host).await;
    }
    assert_eq!(games[0], games[1]);
    assert_ne!(games[0], games[2]);
}

/// What a player who knows everything answers.
fn right_answer(truth: &Value) -> Value {
    let of_role = |role: &str| -> Vec<Value> {
        let players = truth["players"].as_array().unwrap().iter();
        let players = players.filter(|player| player["role"] == role);
        players.map(|player| player["alias"].clone()).collect()
    };
    let (leak, measured) = (&truth["truth"][0], &truth["measured"][0]);
    json!({
        "leaking": of_role("leak"),
        "decoys": of_role("decoy"),
        "location": measured["location"][0],
        "kind": leak["kind"],
        "bytes_per_request": measured["bytes_per_request"],
        "started_at": leak["onset_seconds"],
        "seconds_to_limit": measured["seconds_to_limit"],
        "fix": leak["fixes"][0],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn right_half_right_and_wrong_answers_get_their_points() {
    let host = host().await;
    begin(&host, 11, 1).await;
    let mut ids = Vec::new();
    for name in ["Ann", "Bob", "Cyd"] {
        let joined = host
            .post("/admin/mystery/join", json!({"name": name}))
            .await;
        ids.push(joined["game_id"].clone());
    }
    wait_until(&host, 7.0).await;
    let mut right = right_answer(&truth(&host).await);
    assert!(
        right["bytes_per_request"].as_f64().unwrap() > 100.0,
        "{right}"
    );
    let line = right["location"].as_str().unwrap();
    assert!(
        line.starts_with("plugins/") && line.contains(".rs:"),
        "{line}"
    );

    let mut half = right.clone();
    half["game_id"] = ids[1].clone();
    half["location"] = Value::Null;
    half["bytes_per_request"] = json!(1);
    let wrong =
        json!({"game_id": ids[2], "leaking": [], "fix": "break-the-cycle", "started_at": 0});
    right["game_id"] = ids[0].clone();
    for answer in [&right, &half, &wrong] {
        let grade = host.post("/admin/mystery/answer", answer.clone()).await;
        // With an instructor, nobody can try out answers under another name.
        assert!(grade["score"].is_null(), "{grade}");
        assert_eq!(grade["parts"], json!([]));
    }
    let scores: Vec<u64> = {
        let truth = truth(&host).await;
        let of = |name: &str| {
            let mut all = truth["participants"].as_array().unwrap().iter();
            let found = all.find(|participant| participant["name"] == name).unwrap();
            found["grade"]["score"].as_u64().unwrap()
        };
        ["Ann", "Bob", "Cyd"].map(of).to_vec()
    };
    assert!(
        scores[0] >= 85 && scores[1] < scores[0] && scores[2] < 25,
        "{scores:?}"
    );

    // Each participant has one answer, and the board ranks them.
    let again = host
        .request(Method::POST, "/admin/mystery/answer")
        .json(&right)
        .send()
        .await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let path = "/admin/mystery/leaderboard";
    let early = host.request(Method::GET, path).send().await;
    assert_eq!(early.error_code(path), "mystery_running");

    // The report has the solution, so it waits for the end.
    let early = host
        .request(Method::GET, "/admin/mystery/report")
        .send()
        .await;
    assert_eq!(early.error_code("report"), "mystery_running");
    end(&host).await;
    let board = host.get("/admin/mystery/leaderboard").await;
    let names = board["standings"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Ann", "Bob", "Cyd"]);
    let csv = host
        .request(Method::GET, "/admin/mystery/leaderboard?format=csv")
        .send()
        .await;
    assert!(csv.text.contains("1,\"Ann\","), "{}", csv.text);
    for (format, kind, has) in [
        ("json", "application/json", "\"participants\""),
        ("markdown", "text/markdown; charset=utf-8", "Ann"),
        ("html", "text/html; charset=utf-8", "<td>"),
    ] {
        let path = format!("/admin/mystery/report?format={format}");
        let report = host.request(Method::GET, &path).send().await;
        assert_eq!(report.content_type(), kind);
        assert!(report.text.contains(has), "{}", report.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_does_not_change_what_a_request_is_measured_to_leave_behind() {
    let host = host().await;
    begin(&host, 3, 5).await;
    wait_until(&host, 9.5).await;
    let truth = truth(&host).await;
    let generations = host.get("/admin/mystery/traces?limit=1000").await;
    let traces = generations["traces"].as_array().unwrap();
    assert!(traces.len() > 40, "{}", traces.len());
    for (leak, measured) in truth["truth"]
        .as_array()
        .unwrap()
        .iter()
        .zip(truth["measured"].as_array().unwrap())
    {
        // What the traces say of the same plugin since its onset.
        let since = leak["onset_seconds"].as_f64().unwrap();
        let after = traces
            .iter()
            .filter(|trace| trace["at_seconds"].as_f64().unwrap() >= since);
        let (mut bytes, mut requests) = (0.0, 0.0);
        for trace in after {
            requests += 1.0;
            let spans = trace["plugins"].as_array().unwrap().iter();
            for span in spans.filter(|span| span["plugin"] == leak["alias"]) {
                bytes += span["live_bytes_delta"].as_f64().unwrap();
            }
        }
        let (seen, measured) = (
            bytes / requests,
            measured["bytes_per_request"].as_f64().unwrap(),
        );
        assert!(
            (seen - measured).abs() <= measured * 0.1 + 200.0,
            "{leak}: {seen} {measured}"
        );
    }
    end(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_cost_points_and_end() {
    let host = TestHost::with(&ROSTER).start().await;
    host.post("/admin/mystery", json!({"seed": 2, "duration": "10s"}))
        .await;
    let mut costs = Vec::new();
    for _ in 0..3 {
        let hint = host.post("/admin/mystery/hint", json!({})).await;
        costs.push(hint["cost"].as_u64().unwrap());
    }
    assert_eq!(costs, [5, 10, 15]);
    let more = host
        .request(Method::POST, "/admin/mystery/hint")
        .send()
        .await;
    assert_eq!(more.status, StatusCode::CONFLICT);
    let grade = host
        .post("/admin/mystery/answer", json!({"leaking": ["plugin-a"]}))
        .await;
    assert_eq!(grade["hints_cost"], 30.0);
    // Without an instructor, the answer is the end of the secret.
    let report = host.get("/admin/mystery/report").await;
    assert_eq!(report["participants"][0]["name"], "anonymous");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_the_plugins_are_back_with_their_leaks_off() {
    let host = host().await;
    host.enable("cache").await;
    host.traffic(20).await;
    begin(&host, 1, 3).await;
    let data = host.data().await;
    let ran = data["leaks_triggered"].as_array().unwrap();
    assert!(
        ran.iter()
            .all(|name| name.as_str().unwrap().starts_with("plugin-")),
        "{data}"
    );
    let ended = end(&host).await;
    assert_eq!(ended["restored"], ROSTER.len());
    assert_eq!(ended["failed"], json!({}));
    let status = host.get("/admin/leaks/status?all=true").await;
    let leaks = status["leaks"].as_object().unwrap();
    let names: Vec<_> = leaks.keys().map(String::as_str).collect();
    assert_eq!(names, ROSTER);
    assert!(
        leaks
            .values()
            .all(|leak| leak["enabled"] == false && leak["requests"] == 0)
    );
    host.enable("cache").await;
    host.traffic(20).await;
    assert_eq!(host.leak("cache").await["count"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_instructor_starts_and_ends_a_game_and_sees_its_truth() {
    let host = host().await;
    let body = json!({});
    for (method, path) in [
        (Method::POST, "/admin/mystery"),
        (Method::DELETE, "/admin/mystery"),
        (Method::GET, "/admin/mystery/truth"),
    ] {
        let answer = call(&host, method, path, &body, false).await;
        assert_eq!(answer.error_code(path), "instructor_only");
    }
    begin(&host, 1, 1).await;
    assert!(host.get("/admin/mystery").await["seed"].is_null());
    let answer = call(&host, Method::DELETE, "/admin/mystery", &body, false).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    end(&host).await;
    let answer = call(&host, Method::DELETE, "/admin/mystery", &body, true).await;
    assert_eq!(answer.error_code("ended"), "no_mystery");
}
