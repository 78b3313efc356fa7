//! `GET`, `POST` and `DELETE /admin/scenario`: several leaks with their schedules, from one file.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use serde_json::Value as Json_;
use utoipa::ToSchema;

use crate::body::{AfterBody, read_small};
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::scenario_run::{ChangedLeak, Running, Scenario, ScenarioError, Step, Traffic};
use crate::state::ApiState;

/// A step of the scenario that runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScenarioStep {
    leak: String,
    /// Whether the leak is enabled.
    enabled: bool,
    /// Whether requests reach the leak: it is enabled, and its schedule has it on.
    active: bool,
    /// Seconds until the schedule makes the leak active or inactive; null if that does not happen.
    next_change_in_seconds: Option<f64>,
    start_after_seconds: Option<f64>,
    duration_seconds: Option<f64>,
    repeat_seconds: Option<f64>,
    /// The settings that the step names.
    #[schema(value_type = Object)]
    settings: BTreeMap<String, Json_>,
    /// The load that the step is made for; null if it does not say.
    traffic: Option<Traffic>,
}

/// The next change of a scenario.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NextChange {
    leak: String,
    /// `on` or `off`.
    change: &'static str,
    in_seconds: f64,
}

/// The scenario that runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScenarioBody {
    /// `none`; `running`; or `over` if no leak is active any more and none will be.
    status: &'static str,
    name: Option<String>,
    description: Option<String>,
    /// RFC 3339.
    started_at: Option<String>,
    elapsed_seconds: Option<f64>,
    steps: Vec<ScenarioStep>,
    /// What comes next; null if nothing does.
    next: Option<NextChange>,
}

/// The scenario that was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndedScenario {
    name: String,
    /// The leaks that have the switch and the settings from before the scenario.
    restored: Vec<String>,
    /// The leaks that could not be restored, with the reason.
    failed: BTreeMap<String, String>,
}

impl ScenarioStep {
    fn of(step: &Step, leak: &ChangedLeak, state: &ApiState) -> Self {
        let plugin = leak.plugin(&state.registry);
        let next = plugin.as_ref().and_then(|p| p.details().next_change_in());
        let [start_after, duration, repeat] = step
            .schedule()
            .map(|(_, time)| time.map(|time| time.as_secs_f64()));
        let settings = step.settings.iter();
        ScenarioStep {
            leak: step.leak.clone(),
            enabled: plugin.as_ref().is_some_and(|p| p.enabled()),
            active: plugin.as_ref().is_some_and(|p| p.active()),
            next_change_in_seconds: next.map(|time| time.as_secs_f64()),
            start_after_seconds: start_after,
            duration_seconds: duration,
            repeat_seconds: repeat,
            settings: settings
                .map(|setting| (setting.name.clone(), setting.value.clone()))
                .collect(),
            traffic: step.traffic.clone(),
        }
    }

    fn next(&self) -> Option<NextChange> {
        Some(NextChange {
            leak: self.leak.clone(),
            change: if self.active { "off" } else { "on" },
            in_seconds: self.next_change_in_seconds?,
        })
    }
}

impl ScenarioBody {
    async fn of(state: &ApiState) -> Self {
        state
            .scenario
            .read(|running| {
                running.map_or_else(Self::none, |running| Self::running(running, state))
            })
            .await
    }

    fn none() -> Self {
        ScenarioBody {
            status: "none",
            name: None,
            description: None,
            started_at: None,
            elapsed_seconds: None,
            steps: Vec::new(),
            next: None,
        }
    }

    fn running(running: &Running, state: &ApiState) -> Self {
        let steps = running.scenario.steps.iter().zip(&running.leaks);
        let steps: Vec<ScenarioStep> = steps
            .map(|(step, leak)| ScenarioStep::of(step, leak, state))
            .collect();
        let next = steps.iter().filter_map(ScenarioStep::next);
        let next = next.min_by(|a, b| a.in_seconds.total_cmp(&b.in_seconds));
        let is_over = next.is_none() && steps.iter().all(|step| !step.active);
        ScenarioBody {
            status: if is_over { "over" } else { "running" },
            name: Some(running.scenario.name.clone()),
            description: running.scenario.description.clone(),
            started_at: Some(running.started_at.to_string()),
            elapsed_seconds: Some(running.since.elapsed().as_secs_f64()),
            steps,
            next,
        }
    }
}

/// Checks what can be checked without the loaded leaks.
///
/// # Errors
///
/// Why the text is no scenario, with the line and the field.
pub fn check(text: &str) -> Result<(), ApiError> {
    Scenario::parse(text)?;
    Ok(())
}

/// Starts a scenario in YAML or JSON.
///
/// # Errors
///
/// Why the scenario cannot start, with the line and the field. Nothing has changed then.
pub async fn start_scenario(state: &ApiState, text: &str) -> Result<(), ApiError> {
    let scenario = Scenario::parse(text)?;
    // Before as well: the requests up to now belong to the state before.
    state.record(&Action::Other);
    state.scenario.start(scenario, &state.registry).await?;
    state.record(&Action::Other);
    Ok(())
}

/// The scenario that runs: its steps, which of them are active, and what comes next.
#[utoipa::path(get, path = "/admin/scenario", tag = "scenarios", responses((status = 200, body = ScenarioBody)))]
pub(crate) async fn show(State(state): State<Arc<ApiState>>) -> Json<ScenarioBody> {
    Json(ScenarioBody::of(&state).await)
}

/// Starts a scenario: enables its leaks, each with its settings and its schedule. A scenario that
/// is wrong in any part changes nothing.
#[utoipa::path(post, path = "/admin/scenario", tag = "scenarios",
    request_body(content = String, content_type = "application/yaml", description = "The scenario in YAML or JSON"),
    responses((status = 200, body = ScenarioBody), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn start(
    State(state): State<Arc<ApiState>>,
    request: Request,
) -> Result<Json<ScenarioBody>, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = read_small(&parts.headers, body, &state).await?;
    if let Some(AfterBody(check)) = parts.extensions.get() {
        check()?;
    }
    let text =
        String::from_utf8(bytes).map_err(|_| ScenarioError::not_yaml("the body is not UTF-8"))?;
    start_scenario(&state, &text).await?;
    Ok(Json(ScenarioBody::of(&state).await))
}

/// Ends the scenario: its leaks go back to the switch and the settings that they had before. They
/// keep what they retain.
#[utoipa::path(delete, path = "/admin/scenario", tag = "scenarios",
    responses((status = 200, body = EndedScenario), (status = 404, body = ErrorBody)))]
pub(crate) async fn end(
    State(state): State<Arc<ApiState>>,
) -> Result<Json<EndedScenario>, ApiError> {
    state.record(&Action::Other);
    let ended = state.scenario.end(&state.registry).await?;
    state.record(&Action::Other);
    Ok(Json(EndedScenario {
        name: ended.name,
        restored: ended.restored,
        failed: ended.failed,
    }))
}
