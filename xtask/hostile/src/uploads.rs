//! Rows that upload a component, send requests to it if it is loaded, and unload it.

use anyhow::{Context, Result};
use serde_json::json;

use crate::inputs::{Expected, Input};
use crate::rows::{Row, Target};

/// Requests to a plugin that was loaded.
const REQUESTS: usize = 12;

/// Uploads one input.
pub(crate) fn row(target: &Target, input: &Input) -> Result<Row> {
    let expected = match input.expected {
        Expected::Refused(code) => format!("refused: {code}"),
        Expected::State(state) => state.to_owned(),
    };
    target.try_row(input.name, &[expected], |target| upload(target, input))
}

/// Uploads an input and removes it again. Returns the plugin's last state, or why it was refused.
pub(crate) fn upload(target: &Target, input: &Input) -> Result<String> {
    let url = format!("{}/admin/plugins/{}", target.base, input.id);
    match target.admin.put(&url, &input.component) {
        Ok(_) => run_loaded(target, input),
        Err(error) => Ok(format!("refused: {}", reason(&format!("{error:#}")))),
    }
}

/// Sends requests to a plugin that was loaded, and unloads it. Returns the plugin's last state.
fn run_loaded(target: &Target, input: &Input) -> Result<String> {
    let (base, admin) = (&target.base, &target.admin);
    let settings = match input.expected {
        // A small limit, and the time to reach it on a busy machine.
        Expected::State("exhausted") => {
            json!({"enabled": true, "memory_limit_mb": 64, "deadline_ms": 2000})
        }
        _ => json!({"enabled": true}),
    };
    admin.post(&format!("{base}/admin/leaks/{}", input.id), &settings)?;
    for _ in 0..REQUESTS {
        admin.json(&format!("{base}/api/data"))?;
    }
    let status = admin.json(&format!("{base}/admin/leaks/status?all=true"))?;
    let pointer = format!("/leaks/{}/state", input.id);
    let state = status.pointer(&pointer).and_then(|state| state.as_str());
    let state = state.context("the status has no state")?.to_owned();
    admin.delete(&format!("{base}/admin/plugins/{}", input.id))?;
    Ok(state)
}

/// The code of an error, from the text of the answer.
pub(crate) fn reason(error: &str) -> String {
    let code = error.split("\"code\":\"").nth(1);
    let code = code.and_then(|rest| rest.split('"').next());
    code.unwrap_or(error).to_owned()
}
