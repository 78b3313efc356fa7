use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use fleet::AdminClient;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};
use tokio::net::TcpListener;

use super::*;

/// The calls that a host received: method, path with query, and body.
type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// A host that records calls and answers those of the mystery game.
async fn host() -> (String, Calls) {
    let calls = Calls::default();
    let app = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&calls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, calls)
}

async fn answer(State(calls): State<Calls>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let call = format!("{} {}", parts.method, parts.uri);
    calls.lock().unwrap().push((call.clone(), body.clone()));
    match call.as_str() {
        "GET /admin/mystery" => Json(json!({"status": "running"})).into_response(),
        "GET /admin/mystery/observe" => Json(json!({"requests": 42})).into_response(),
        "GET /admin/mystery/traces?limit=5" => Json(json!({"traces": []})).into_response(),
        "GET /admin/memory/snapshot" => Json(json!({"by_line": []})).into_response(),
        "GET /admin/memory/diff" => Json(json!({"growing_allocations": []})).into_response(),
        "GET /metrics" => {
            let series = (0..300).map(|index| format!("series_{index} 1\n"));
            format!("# HELP x\n{}rss 7\n", series.collect::<String>()).into_response()
        }
        "POST /admin/mystery/join" => Json(json!({"game_id": "g1"})).into_response(),
        "POST /admin/mystery/answer" if body["kind"] == "never" => {
            let error = json!({"code": "invalid_answer", "message": "no kind never",
                "hint": "send one of the list"});
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                Json(json!({"error": error})),
            )
                .into_response()
        }
        "POST /admin/mystery/answer" => Json(json!({"score": 77})).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The client's side of a connection.
struct Agent {
    answers: Lines<BufReader<ReadHalf<DuplexStream>>>,
    requests: WriteHalf<DuplexStream>,
    next_id: u64,
}

impl Agent {
    /// Connects to a server that plays on this host.
    async fn connect(url: &str, player: Option<&str>) -> Self {
        let client = AdminClient::new(url, None).unwrap();
        let game = MysteryClient::new(client, player.map(str::to_owned));
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (input, output) = tokio::io::split(theirs);
        tokio::spawn(serve(game, input, output));
        let (answers, requests) = tokio::io::split(ours);
        let mut agent = Agent {
            answers: BufReader::new(answers).lines(),
            requests,
            next_id: 0,
        };
        let parameters = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let server = agent.ask("initialize", parameters).await;
        assert_eq!(server["serverInfo"]["name"], "leak-lab");
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        agent.send(&done).await;
        agent
    }

    async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.requests.write_all(line.as_bytes()).await.unwrap();
    }

    /// The result of a request.
    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}))
            .await;
        let line = self.answers.next_line().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["id"], id);
        answer["result"].clone()
    }

    /// The text of a tool's result, and whether it is an error.
    async fn call(&mut self, tool: &str, arguments: Value) -> (String, bool) {
        let parameters = json!({"name": tool, "arguments": arguments});
        let result = self.ask("tools/call", parameters).await;
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        (text, result["isError"] == true)
    }
}

#[tokio::test]
async fn an_agent_finds_five_tools_with_schemas() {
    let (url, _) = host().await;
    let mut agent = Agent::connect(&url, None).await;
    let tools = agent.ask("tools/list", json!({})).await;
    let tools = tools["tools"].as_array().unwrap();
    let names: Vec<&str> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    let expected = [
        "observe",
        "query_metrics",
        "list_traces",
        "take_snapshot",
        "submit",
    ];
    assert_eq!(names, expected);
    for tool in tools {
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
        let is_read_only = tool["annotations"]["readOnlyHint"] == true;
        assert_eq!(is_read_only, tool["name"] != "submit", "{tool}");
    }
}

#[tokio::test]
async fn each_tool_makes_its_calls() {
    let (url, calls) = host().await;
    let mut agent = Agent::connect(&url, None).await;
    for (tool, arguments, expected) in [
        ("observe", json!({}), "\"requests\": 42"),
        ("list_traces", json!({"limit": 5}), "\"traces\": []"),
        ("take_snapshot", json!({}), "by_line"),
        (
            "take_snapshot",
            json!({"mode": "growth"}),
            "growing_allocations",
        ),
        ("query_metrics", json!({"contains": "rss"}), "rss 7"),
        (
            "query_metrics",
            json!({"contains": "none"}),
            "no metric contains",
        ),
        (
            "submit",
            json!({"leaking": ["plugin-a"], "fix": null}),
            "\"score\": 77",
        ),
    ] {
        let (text, is_error) = agent.call(tool, arguments).await;
        assert!(text.contains(expected) && !is_error, "{tool}: {text}");
    }
    let (all, _) = agent.call("query_metrics", json!({})).await;
    assert_eq!(all.lines().count(), 201);
    assert!(
        all.ends_with("101 more lines: ask for fewer with `contains`"),
        "{all}"
    );
    let calls = calls.lock().unwrap();
    let answer = calls
        .iter()
        .find(|(call, _)| call == "POST /admin/mystery/answer");
    assert_eq!(answer.unwrap().1, json!({"leaking": ["plugin-a"]}));
}

#[tokio::test]
async fn a_player_with_a_name_joins_once() {
    let (url, calls) = host().await;
    let mut agent = Agent::connect(&url, Some("Ann")).await;
    for _ in 0..2 {
        agent.call("submit", json!({"leaking": []})).await;
    }
    let calls = calls.lock().unwrap();
    let expected = [
        (
            "POST /admin/mystery/join".to_owned(),
            json!({"name": "Ann"}),
        ),
        (
            "POST /admin/mystery/answer".to_owned(),
            json!({"leaking": [], "game_id": "g1"}),
        ),
        (
            "POST /admin/mystery/answer".to_owned(),
            json!({"leaking": [], "game_id": "g1"}),
        ),
    ];
    assert_eq!(*calls, expected);
}

#[tokio::test]
async fn a_wrong_call_says_what_to_do_and_sends_nothing() {
    let (url, calls) = host().await;
    let mut agent = Agent::connect(&url, None).await;
    for (tool, arguments, expected) in [
        ("guess", json!({}), "call one of observe"),
        ("observe", json!({"now": true}), "no argument \"now\""),
        ("list_traces", json!({"limit": 0}), "from 1 to 100"),
        ("take_snapshot", json!({"mode": 3}), "`now` or `growth`"),
        ("query_metrics", json!({"contains": 3}), "takes a text"),
        ("submit", json!({}), "nothing was sent"),
        ("submit", json!({"leak": []}), "no argument \"leak\""),
    ] {
        let (text, is_error) = agent.call(tool, arguments).await;
        assert!(text.contains(expected) && is_error, "{tool}: {text}");
    }
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_agent_reads_why_the_host_refused() {
    let (url, _) = host().await;
    let mut agent = Agent::connect(&url, None).await;
    let (text, is_error) = agent.call("submit", json!({"kind": "never"})).await;
    assert_eq!(
        (text.as_str(), is_error),
        ("no kind never: send one of the list", true)
    );
    let mut lost = Agent::connect("http://127.0.0.1:1", None).await;
    let (text, is_error) = lost.call("observe", json!({})).await;
    assert!(text.contains("no host answers at") && is_error, "{text}");
}
