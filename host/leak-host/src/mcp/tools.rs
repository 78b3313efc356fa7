//! The tools: their schemas, and the calls that they make.

use anyhow::{Context, bail, ensure};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use crate::mystery_client::MysteryClient;

/// Lines of metrics in one result, at most.
const MAX_METRIC_LINES: usize = 200;

/// Traces in one result, at most.
const MAX_TRACES: u64 = 100;

/// Traces in a result if the call does not say.
const DEFAULT_TRACES: u64 = 20;

/// All tools with their schemas.
pub(super) fn list() -> Vec<Tool> {
    let names = json!({"type": "array", "items": {"type": "string"}});
    let number = |description: &str| json!({"type": "number", "description": description});
    let text = |description: &str| json!({"type": "string", "description": description});
    vec![
        read_only(
            "observe",
            "The state of the game (aliases, level, time, closed lists) and what the level shows \
             now: memory of the process, requests, and numbers of each plugin at levels 1 to 3.",
            &json!({}),
        ),
        read_only(
            "query_metrics",
            "Metrics of the service in the Prometheus format, at most 200 lines.",
            &json!({
                "contains": text("Only lines that contain this text, such as `plugin-b`."),
            }),
        ),
        read_only(
            "list_traces",
            "The last requests: time, tenant, status, duration, and the change of live bytes for \
             each plugin.",
            &json!({"limit": {"type": "integer", "minimum": 1, "maximum": MAX_TRACES}}),
        ),
        read_only(
            "take_snapshot",
            "`now`: the lines (level 1) or functions (level 2) that hold memory. `growth`, at level \
             1: the lines that have grown since the last call with `growth`.",
            &json!({"mode": {"type": "string", "enum": ["now", "growth"]}}),
        ),
        tool(
            "submit",
            "Sends the answer, which is graded. Leave out what you do not know.",
            &json!({
                "leaking": names,
                "decoys": names,
                "location": text("`file:line` at level 1, the function at level 2."),
                "kind": text("One of `kinds` of the game."),
                "bytes_per_request": number("Mean over all requests since the leak began."),
                "started_at": number("Seconds from the start of the game to the onset."),
                "seconds_to_limit": number("Seconds until the process reaches its limit."),
                "fix": text("One of `fixes` of the game."),
            }),
        ),
    ]
}

fn tool(name: &'static str, description: &'static str, properties: &Value) -> Tool {
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), properties.clone());
    schema.insert("additionalProperties".to_owned(), json!(false));
    Tool::new(name, description, schema)
}

fn read_only(name: &'static str, description: &'static str, properties: &Value) -> Tool {
    let annotations = ToolAnnotations::new().read_only(true);
    tool(name, description, properties).with_annotations(annotations)
}

/// Calls a tool. The result is JSON, or lines of metrics.
///
/// # Errors
///
/// If there is no such tool, if an argument is wrong, or if the host refuses the call.
pub(super) async fn call(
    game: &MysteryClient,
    name: &str,
    arguments: &JsonObject,
) -> anyhow::Result<String> {
    check_names(name, arguments)?;
    let answer = match name {
        "observe" => game.observe().await?,
        "query_metrics" => return query_metrics(game, arguments).await,
        "list_traces" => {
            let limit = match arguments.get("limit") {
                None => DEFAULT_TRACES,
                Some(limit) => limit
                    .as_u64()
                    .filter(|limit| (1..=MAX_TRACES).contains(limit))
                    .context("`limit` takes a whole number from 1 to 100")?,
            };
            game.traces(limit).await?
        }
        "take_snapshot" => match arguments.get("mode").map(Value::as_str) {
            None | Some(Some("now")) => game.snapshot().await?,
            Some(Some("growth")) => game.diff().await?,
            Some(_) => bail!("`mode` takes `now` or `growth`"),
        },
        _ => game.submit(answer(arguments)?).await?,
    };
    Ok(serde_json::to_string_pretty(&answer)?)
}

/// Refuses a tool or an argument that does not exist.
fn check_names(name: &str, arguments: &JsonObject) -> anyhow::Result<()> {
    let tools = list();
    let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        bail!(
            "there is no tool {name:?}: call one of {}",
            names.join(", ")
        );
    };
    let properties = tool
        .input_schema
        .get("properties")
        .and_then(Value::as_object);
    let known = |argument: &String| properties.is_some_and(|known| known.contains_key(argument));
    if let Some(unknown) = arguments.keys().find(|argument| !known(argument)) {
        bail!("{name} has no argument {unknown:?}: its schema lists those that it has");
    }
    Ok(())
}

async fn query_metrics(game: &MysteryClient, arguments: &JsonObject) -> anyhow::Result<String> {
    let contains = match arguments.get("contains") {
        None => "",
        Some(text) => text.as_str().context("`contains` takes a text")?,
    };
    let metrics = game.metrics().await?;
    let mut lines = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(contains));
    let mut result: Vec<&str> = lines.by_ref().take(MAX_METRIC_LINES).collect();
    let left_out = lines.count();
    let rest = format!("{left_out} more lines: ask for fewer with `contains`");
    if left_out > 0 {
        result.push(&rest);
    }
    if result.is_empty() {
        return Ok(format!("no metric contains {contains:?}"));
    }
    Ok(result.join("\n"))
}

/// The answer without parts that are null: some agents send them for what they do not know.
fn answer(arguments: &JsonObject) -> anyhow::Result<Map<String, Value>> {
    let parts = arguments.iter().filter(|(_, value)| !value.is_null());
    let answer: Map<String, Value> = parts
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    ensure!(
        !answer.is_empty(),
        "the answer is empty: name at least the plugins in `leaking`; nothing was sent"
    );
    Ok(answer)
}
