//! `leak-host play`: lets the scripted baseline play the mystery game of a running host.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use mystery::{Agent, Answer, Baseline, GrowingLine, Move, Trace, View};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::PlayArgs;
use crate::mystery_client::MysteryClient;
use fleet::AskError;

/// Traces in one view: more than arrive between two looks.
const TRACES: u64 = 1000;

/// The state of a game, as `GET /admin/mystery` answers it.
#[derive(Debug, Deserialize)]
struct GameState {
    status: String,
    duration_seconds: Option<f64>,
    #[serde(default)]
    plugins: Vec<String>,
}

/// Plays one game and prints its grade as JSON. Exits with 0 if the answer was graded.
pub(crate) fn run(args: &PlayArgs) -> ExitCode {
    let played = play(args).and_then(|grade| Ok(serde_json::to_string_pretty(&grade)?));
    match played {
        Ok(grade) => {
            println!("{grade}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("leak-host play: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(args: &PlayArgs) -> anyhow::Result<Value> {
    let client = args.remote.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let game = MysteryClient::new(client, args.player.clone());
    runtime.block_on(async {
        if let Some(difficulty) = args.difficulty {
            let mut order = Map::new();
            order.insert("difficulty".to_owned(), json!(difficulty));
            order.extend(args.seed.map(|seed| ("seed".to_owned(), json!(seed))));
            let duration = args.duration.clone();
            order.extend(duration.map(|time| ("duration".to_owned(), json!(time))));
            game.start(&Value::Object(order)).await?;
        }
        play_game(&game).await
    })
}

/// Plays the game that runs until the agent has answered.
async fn play_game(game: &MysteryClient) -> anyhow::Result<Value> {
    let state: GameState = parsed(game.state().await?)?;
    anyhow::ensure!(
        state.status == "running",
        "no mystery runs: --difficulty starts one"
    );
    let duration = state.duration_seconds.map(Duration::try_from_secs_f64);
    let duration = duration.and_then(Result::ok);
    let duration = duration.context("the host's game has no duration")?;
    let mut agent = Baseline::new(state.plugins, duration);
    let mut seen_until = f64::NEG_INFINITY;
    loop {
        let view = view(game, &mut seen_until).await?;
        match agent.next(&view) {
            Move::Wait(time) => tokio::time::sleep(time).await,
            Move::Submit(answer) => return Ok(game.submit(body(&answer)).await?),
        }
    }
}

/// What the level shows now. The host refuses what it hides; then that part is empty.
async fn view(game: &MysteryClient, seen_until: &mut f64) -> anyhow::Result<View> {
    let observation = parsed(game.observation().await?)?;
    let traces = list(game.traces(TRACES).await, "traces")?;
    let mut traces: Vec<Trace> = parsed(traces)?;
    traces.retain(|trace| trace.at_seconds > *seen_until);
    traces.sort_by(|left, right| left.at_seconds.total_cmp(&right.at_seconds));
    if let Some(last) = traces.last() {
        *seen_until = last.at_seconds;
    }
    let mut growing = list(game.diff().await, "growing_allocations")?;
    if growing.as_array().is_some_and(Vec::is_empty) {
        growing = list(game.snapshot().await, "by_function")?;
    }
    let growing: Vec<GrowingLine> = parsed(growing)?;
    Ok(View {
        observation,
        traces,
        growing,
    })
}

/// The list in an answer, or an empty one if the host refused the call.
fn list(answer: Result<Value, AskError>, name: &str) -> Result<Value, AskError> {
    match answer {
        Ok(mut answer) => Ok(answer.get_mut(name).map_or(json!([]), Value::take)),
        Err(AskError::Refused { .. }) => Ok(json!([])),
        Err(error) => Err(error),
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer).context("the answer is not that of a leak lab of this version")
}

/// The answer as the API takes it, without the parts that are not known.
fn body(answer: &Answer) -> Map<String, Value> {
    let Answer {
        leaking,
        decoys,
        location,
        kind,
        bytes_per_request,
        started_at_seconds,
        seconds_to_limit,
        fix,
    } = answer;
    let parts = [
        ("leaking", json!(leaking)),
        ("decoys", json!(decoys)),
        ("location", json!(location)),
        ("kind", json!(kind)),
        ("bytes_per_request", json!(bytes_per_request)),
        ("started_at", json!(started_at_seconds)),
        ("seconds_to_limit", json!(seconds_to_limit)),
        ("fix", json!(fix)),
    ];
    let known = parts.into_iter().filter(|(_, value)| !value.is_null());
    known
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests;
