//! The mystery: what it hides, how it is played, and what is left when it has ended.

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

/// The ids of the plugins that play, as they can appear in a text.
fn true_names(truth: &Value) -> Vec<String> {
    let players = truth["players"].as_array().unwrap().iter();
    let ids = players.map(|player| player["plugin"].as_str().unwrap());
    ids.flat_map(|id| [id.to_owned(), id.replace('-', "_")])
        .collect()
}

/// The calls of the API's description, with the alias and the true id of a player in their paths.
async fn all_calls(host: &TestHost, truth: &Value) -> Vec<(Method, String)> {
    let description = host.get("/openapi.json").await;
    let player = &truth["players"][0];
    let mut calls = Vec::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for name in [&player["alias"], &player["plugin"]] {
                let path = path.replace("{name}", name.as_str().unwrap());
                calls.push((method.clone(), path.replace("{number}", "2")));
            }
        }
    }
    for path in [
        "/admin/leaks/status?all=true",
        "/admin/memory?all=true",
        "/admin/memory/snapshot?all=true",
        "/admin/memory/snapshot?group_by=trace",
        "/debug/heap/",
        "/debug/heap/snapshot",
        "/debug/pprof/symbol",
        "/nowhere",
    ] {
        calls.push((Method::GET, path.to_owned()));
    }
    calls.dedup();
    // These start and end games, or are for the instructor.
    calls.retain(|(method, path)| {
        let of_game = [
            "/admin/mystery",
            "/admin/mystery/truth",
            "/admin/mystery/report",
        ];
        *method == Method::GET && path != of_game[1] && path != of_game[2]
            || !path.starts_with(of_game[0])
    });
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_has_a_true_name_at_a_level_that_hides_it() {
    let host = host().await;
    for difficulty in 1..=5 {
        begin(&host, 40 + u64::from(difficulty), difficulty).await;
        wait_until(&host, 6.0).await;
        let truth = truth(&host).await;
        let names = true_names(&truth);
        let (mut read, mut refused) = (0, 0);
        for (method, path) in all_calls(&host, &truth).await {
            // At level 1, source lines are shown, and their paths have names.
            let shows_lines = ["/admin/memory/", "/debug/", "/metrics"];
            if difficulty == 1 && shows_lines.iter().any(|start| path.starts_with(start)) {
                continue;
            }
            let answer = call(&host, method.clone(), &path, &json!({}), false).await;
            // A refusal can repeat the name that the client has sent.
            let asked = names.iter().filter(|name| !path.contains(*name));
            let found: Vec<_> = asked.filter(|name| answer.text.contains(*name)).collect();
            assert!(
                found.is_empty(),
                "level {difficulty}: {method} {path} has {found:?}: {}",
                answer.text
            );
            read += usize::from(answer.status.is_success());
            refused += usize::from(answer.text.contains("mystery_running"));
        }
        assert!(read > 10 && refused > 20, "{read} read, {refused} refused");
        end(&host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_what_the_level_shows() {
    let host = host().await;
    for (difficulty, has_plugins, has_lines) in
        [(1, true, true), (3, true, false), (4, false, false)]
    {
        begin(&host, 7, difficulty).await;
        wait_until(&host, 5.0).await;
        // The lines are those of the last sample.
        sleep(Duration::from_millis(1500)).await;
        for accept in ["text/plain", "application/openmetrics-text"] {
            let request = host.request(Method::GET, "/metrics");
            let page = request.header("accept", accept).send().await.text;
            let has = |text: &str| page.contains(text);
            assert_eq!(
                has("plugin=\"plugin-a\""),
                has_plugins,
                "{difficulty} {page}"
            );
            assert_eq!(has("plugin="), has_plugins, "{difficulty} {page}");
            assert_eq!(
                has("leak_site_live_bytes{"),
                has_lines,
                "{difficulty} {page}"
            );
            assert!(has("process_resident_memory_bytes "));
            assert!(has("http_requests_total{"));
            assert!(!has("leak_active") && !has("leak_retained_bytes"), "{page}");
        }
        end(&host).await;
        let page = host.request(Method::GET, "/metrics").send().await.text;
        assert!(page.contains("leak_active{plugin=\"cache\"} 0"), "{page}");
        assert!(!page.contains("plugin-a"), "{page}");
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
    let mut scores = Vec::new();
    for answer in [&right, &half, &wrong] {
        let grade = host.post("/admin/mystery/answer", answer.clone()).await;
        // The instructor's host explains when the game is over.
        assert!(grade["parts"][0]["explanation"].is_null(), "{grade}");
        scores.push(grade["score"].as_u64().unwrap());
    }
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
    let board = host.get("/admin/mystery/leaderboard").await;
    let names = board["standings"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Ann", "Bob", "Cyd"]);
    let csv = host
        .request(Method::GET, "/admin/mystery/leaderboard?format=csv")
        .send()
        .await;
    assert!(csv.text.contains("1,\"Ann\","), "{}", csv.text);

    // The report has the solution, so it waits for the end.
    let early = host
        .request(Method::GET, "/admin/mystery/report")
        .send()
        .await;
    assert_eq!(early.error_code("report"), "mystery_running");
    end(&host).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_played_changes_nothing() {
    let host = TestHost::with(&["cache", "listeners"]).start().await;
    test_support::bad_calls::check(
        &host,
        r#"
POST /admin/mystery {"seed": -1} => 422 invalid_value: seed, 9007199254740991
POST /admin/mystery {"seed": 1.5} => 422 invalid_value: seed
POST /admin/mystery {"seed": "7"} => 422 invalid_value: seed
POST /admin/mystery {"difficulty": 0} => 422 invalid_value: difficulty, 1 to 5
POST /admin/mystery {"difficulty": 6} => 422 invalid_value: difficulty
POST /admin/mystery {"difficulty": null} => 422 invalid_value: difficulty
POST /admin/mystery {"duration": "9s"} => 422 invalid_value: duration, 10s to 24h
POST /admin/mystery {"duration": 600} => 422 invalid_value: duration
POST /admin/mystery {"duration": "25h"} => 422 invalid_value: duration
POST /admin/mystery {"level": 1} => 422 unknown_field: seed, difficulty, duration
POST /admin/mystery {"difficulty": 5} => 422 invalid_value: load
POST /admin/mystery [] => 400 malformed_json: object
DELETE /admin/mystery => 404 no_mystery: POST /admin/mystery
POST /admin/mystery/join {"name": "Ann"} => 404 no_mystery: POST
POST /admin/mystery/hint => 404 no_mystery: POST
POST /admin/mystery/answer {} => 404 no_mystery: POST
GET /admin/mystery/observe => 404 no_mystery: POST
GET /admin/mystery/traces => 404 no_mystery: POST
GET /admin/mystery/report => 404 no_mystery: POST
GET /admin/mystery/leaderboard => 404 no_mystery: POST
GET /admin/mystery/truth => 403 instructor_only: --instructor-token
GET /admin/mystery/traces?limit=0 => 404 no_mystery: POST
"#,
    )
    .await;
    let scenario = json!({"name": "one", "steps": [{"leak": "cache"}]});
    host.post("/admin/scenario", scenario).await;
    let order = json!({});
    let answer = call(&host, Method::POST, "/admin/mystery", &order, false).await;
    assert_eq!(answer.error_code("scenario"), "scenario_running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_of_a_player_says_what_to_send() {
    let host = host().await;
    begin(&host, 1, 2).await;
    for (path, body, code, word) in [
        ("/admin/mystery", json!({}), "instructor_only", "token"),
        ("/admin/mystery/join", json!({}), "missing_field", "name"),
        (
            "/admin/mystery/join",
            json!({"name": ""}),
            "invalid_value",
            "40",
        ),
        (
            "/admin/mystery/join",
            json!({"name": 5}),
            "invalid_value",
            "name",
        ),
        (
            "/admin/mystery/hint",
            json!({"game_id": "x"}),
            "unknown_game",
            "join",
        ),
        (
            "/admin/mystery/answer",
            json!({"game_id": "x"}),
            "unknown_game",
            "join",
        ),
        (
            "/admin/mystery/answer",
            json!({"leaking": ["cache"]}),
            "invalid_value",
            "plugin-a",
        ),
        (
            "/admin/mystery/answer",
            json!({"kind": "often"}),
            "invalid_value",
            "every-request",
        ),
        (
            "/admin/leaks/plugin-a",
            json!({"enabled": false}),
            "mystery_running",
            "DELETE",
        ),
        ("/admin/reset", json!({}), "mystery_running", "changed"),
        (
            "/admin/leaks/clear",
            json!({}),
            "mystery_running",
            "changed",
        ),
    ] {
        let answer = call(&host, Method::POST, path, &body, false).await;
        assert_eq!(answer.error_code(path), code, "{path} {body}");
        assert!(answer.text.contains(word), "{path}: {}", answer.text);
    }
    let again = call(&host, Method::POST, "/admin/mystery", &json!({}), true).await;
    assert_eq!(again.error_code("again"), "mystery_running");
    end(&host).await;
}
