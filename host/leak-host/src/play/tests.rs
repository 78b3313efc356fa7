use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use fleet::AdminClient;
use tokio::net::TcpListener;

use super::*;

/// A game of ten seconds that is nearly over: each look is one second later, and `plugin-b` has
/// grown by 1 MB.
#[derive(Debug, Default)]
struct Host {
    looks: AtomicU64,
    answer: Mutex<Option<Value>>,
    shows_lines: bool,
    shows_functions: bool,
}

async fn answer(State(host): State<Arc<Host>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let look = host.looks.load(Ordering::Relaxed);
    let refused = || {
        let error = json!({"code": "hidden", "message": "hidden", "hint": "look elsewhere"});
        (StatusCode::FORBIDDEN, Json(json!({"error": error}))).into_response()
    };
    match parts.uri.path() {
        "/admin/mystery/join" => Json(json!({"game_id": "g1"})).into_response(),
        "/admin/mystery" => Json(json!({"status": "running", "duration_seconds": 10.0,
            "plugins": ["plugin-a", "plugin-b"]}))
        .into_response(),
        "/admin/mystery/observe" => {
            let look = host.looks.fetch_add(1, Ordering::Relaxed);
            let live = 1_000_000 * look.saturating_sub(2);
            Json(json!({"elapsed_seconds": look, "requests": 10 * look,
                "process": {"rss_bytes": 70_000_000 + live, "limit_bytes": 268_435_456},
                "plugins": [{"plugin": "plugin-a", "heap_live_bytes": 5000},
                    {"plugin": "plugin-b", "heap_live_bytes": live}]}))
            .into_response()
        }
        "/admin/mystery/traces" => {
            let span =
                |plugin: &str, delta: i64| json!({"plugin": plugin, "live_bytes_delta": delta});
            let traces = [json!({"at_seconds": look, "tenant": 3, "status": 200,
                "plugins": [span("plugin-a", 0), span("plugin-b", 100_000)]})];
            Json(json!({"traces": traces})).into_response()
        }
        "/admin/memory/diff" if host.shows_lines => Json(json!({"growing_allocations": [
            {"plugin": "plugin-b", "location": "plugins/cache/src/lib.rs:67",
                "function": "on_request"}]}))
        .into_response(),
        "/admin/memory/snapshot" if host.shows_functions => Json(json!({"by_function": [
            {"plugin": "plugin-b", "function": "on_request"}]}))
        .into_response(),
        "/admin/memory/diff" | "/admin/memory/snapshot" => refused(),
        "/admin/mystery/answer" => {
            *host.answer.lock().unwrap() = serde_json::from_slice(&body).ok();
            Json(json!({"score": 88})).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Starts such a host. Returns its address.
async fn start(host: &Arc<Host>) -> String {
    let app = Router::new().fallback(answer).with_state(Arc::clone(host));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Plays on such a host. Returns the grade and the answer that the host received.
async fn play_on(host: Host) -> (Value, Value) {
    let host = Arc::new(host);
    let url = start(&host).await;
    let client = AdminClient::new(&url, None).unwrap();
    let grade = play_game(&MysteryClient::new(client, None)).await.unwrap();
    let answer = host.answer.lock().unwrap().take().unwrap();
    (grade, answer)
}

#[tokio::test]
async fn the_baseline_names_the_plugin_that_grows() {
    let (grade, answer) = play_on(Host {
        shows_lines: true,
        ..Host::default()
    })
    .await;
    assert_eq!(grade["score"], 88);
    assert_eq!(answer["leaking"], json!(["plugin-b"]));
    assert_eq!(answer["decoys"], json!([]));
    assert_eq!(answer["kind"], "every-request");
    assert_eq!(answer["bytes_per_request"], 100_000.0);
    assert_eq!(answer["location"], "plugins/cache/src/lib.rs:67");
    assert_eq!(answer["fix"], "bound-the-collection");
    let seconds = answer["seconds_to_limit"].as_f64().unwrap();
    assert!((150.0..250.0).contains(&seconds), "{answer}");
}

#[tokio::test]
async fn at_level_2_the_answer_names_a_function() {
    let (_, answer) = play_on(Host {
        shows_functions: true,
        ..Host::default()
    })
    .await;
    assert_eq!(answer["location"], "on_request");
    assert!(answer.get("fix").is_none(), "{answer}");
}

#[tokio::test]
async fn what_a_level_hides_is_left_out_of_the_answer() {
    let (_, answer) = play_on(Host::default()).await;
    assert_eq!(answer["leaking"], json!(["plugin-b"]));
    assert!(
        answer.get("location").is_none() && answer.get("fix").is_none(),
        "{answer}"
    );
}

/// The example of `docs/agents.md`. Skipped without Python.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_in_python_plays_a_game() {
    let python = std::process::Command::new("python3")
        .arg("--version")
        .output();
    if python.is_err() {
        eprintln!("skipped: python3 is missing");
        return;
    }
    let host = Arc::new(Host::default());
    let url = start(&host).await;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
    let program = "import sys\n\
        from mystery_client import Host, growth_agent, play\n\
        agent = growth_agent()\n\
        hurried = lambda state: (lambda move: ('wait', 0) if move[0] == 'wait' else move)(\
            agent(state))\n\
        print(play(Host(sys.argv[1]), hurried, {'difficulty': 1})['score'])";
    let mut command = std::process::Command::new("python3");
    command
        .args(["-B", "-c", program, &url])
        .env("PYTHONPATH", examples);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "88\n",
        "{output:?}"
    );
    let answer = host.answer.lock().unwrap().take().unwrap();
    assert_eq!(answer["leaking"], json!(["plugin-b"]));
    assert_eq!(answer["bytes_per_request"], 100_000.0);
    assert_eq!(answer["game_id"], "g1");
}
