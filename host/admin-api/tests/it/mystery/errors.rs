//! Calls of a mystery that are refused.

use axum::http::Method;
use serde_json::json;
use test_support::TestHost;

use super::{begin, call, end, host};

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
    let joined = host
        .post("/admin/mystery/join", json!({"name": "Ann"}))
        .await;
    let id = &joined["game_id"];
    for (path, body, code, word) in [
        (
            "/admin/mystery/join",
            json!({"name": "Ann"}),
            "name_taken",
            "another",
        ),
        ("/admin/mystery/hint", json!({}), "missing_field", "join"),
        ("/admin/mystery/answer", json!({}), "missing_field", "join"),
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
            json!({"game_id": id, "leaking": ["cache"]}),
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
