//! `POST /admin/leaks/{name}/reset` and `POST /admin/reset`: fresh instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::freed::{LinearMemory, ProcessMemory, resident_bytes};
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::path_name::PathName;
use crate::state::ApiState;
use plugin_host::error::PluginError;
use process_memory::allocator;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reset {
    /// The leak's name.
    leak: String,
    /// The number of the fresh instance.
    generation: u64,
    #[serde(flatten)]
    memory: ProcessMemory,
    #[serde(flatten)]
    linear_memory: LinearMemory,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllReset {
    /// `all`, or `some` if a plugin failed.
    reset: &'static str,
    /// The number of each plugin's fresh instance.
    generations: BTreeMap<String, u64>,
    /// Plugins that could not be reset: nothing of them has changed. All others are reset.
    failed: Vec<ResetFailure>,
    #[serde(flatten)]
    memory: ProcessMemory,
}

/// A plugin that could not be reset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResetFailure {
    plugin: String,
    /// Why, in one sentence.
    reason: String,
}

/// Drops the instance and starts a fresh one with the same settings.
#[utoipa::path(post, path = "/admin/leaks/{name}/reset", tag = "leaks", params(("name" = String, Path, description = "The leak")),
    responses((status = 200, body = Reset), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn reset(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
    body: JsonObject,
) -> Result<Json<Reset>, ApiError> {
    body.reject_unknown(&[])?;
    let plugin = state.leak(&name)?;
    let before = resident_bytes(&state)?;
    state.record(&Action::Other);
    let retained = plugin.reading().retained.objects;
    let done = plugin.reset(false).await?;
    allocator::release_free_pages();
    record(&state, &name, retained);
    Ok(Json(Reset {
        leak: name,
        generation: done.generation,
        memory: ProcessMemory::since(before, &state)?,
        linear_memory: LinearMemory::new(done.linear_before, done.linear_after),
    }))
}

/// A fresh instance is a clear and a gc in one.
fn record(state: &ApiState, name: &str, retained: u64) {
    if retained > 0 {
        state.record(&Action::Cleared {
            dropped: vec![name.to_owned()],
        });
    }
    state.record(&Action::Collected {
        recycled: vec![name.to_owned()],
    });
}

/// Resets everything to the state at the start: leaks off, settings at their defaults, instances
/// fresh, no baselines, no scenario. A plugin whose fresh instance does not start keeps its state
/// and is listed in `failed`; the others are reset all the same.
#[utoipa::path(post, path = "/admin/reset", tag = "leaks",
    responses((status = 200, body = AllReset), (status = 503, body = ErrorBody)))]
pub(crate) async fn reset_all(
    State(state): State<Arc<ApiState>>,
    body: JsonObject,
) -> Result<Json<AllReset>, ApiError> {
    body.reject_unknown(&[])?;
    let before = resident_bytes(&state)?;
    let mut outcomes = Outcomes::default();
    state.record(&Action::Other);
    state.scenario.forget().await;
    for plugin in state.registry.plugins().iter() {
        let generation = plugin.reset(true).await.map(|done| done.generation);
        outcomes.add(plugin.id(), generation);
    }
    state.record(&Action::Other);
    state.baselines.clear();
    allocator::release_free_pages();
    Ok(Json(
        outcomes.into_body(ProcessMemory::since(before, &state)?),
    ))
}

/// What became of each plugin.
#[derive(Debug, Default)]
struct Outcomes {
    generations: BTreeMap<String, u64>,
    failed: Vec<ResetFailure>,
}

impl Outcomes {
    fn add(&mut self, plugin: &str, generation: Result<u64, PluginError>) {
        let plugin = plugin.to_owned();
        match generation {
            Ok(generation) => drop(self.generations.insert(plugin, generation)),
            Err(error) => self.failed.push(ResetFailure {
                plugin,
                reason: error.to_string(),
            }),
        }
    }

    fn into_body(self, memory: ProcessMemory) -> AllReset {
        let Outcomes {
            generations,
            failed,
        } = self;
        AllReset {
            reset: if failed.is_empty() { "all" } else { "some" },
            generations,
            failed,
            memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(outcomes: Outcomes) -> Value {
        serde_json::to_value(outcomes.into_body(ProcessMemory::default())).unwrap()
    }

    #[test]
    fn a_plugin_that_fails_is_named_and_the_others_are_reset() {
        let mut outcomes = Outcomes::default();
        outcomes.add("cache", Ok(2));
        outcomes.add("history", Err(PluginError::Overloaded("history".into())));
        outcomes.add("listeners", Ok(3));
        let body = body(outcomes);
        assert_eq!(body["reset"], "some");
        assert_eq!(body["generations"], json!({"cache": 2, "listeners": 3}));
        assert_eq!(body["failed"][0]["plugin"], "history");
        assert!(!body["failed"][0]["reason"].as_str().unwrap().is_empty());
    }

    #[test]
    fn without_a_failure_all_are_reset() {
        let mut outcomes = Outcomes::default();
        outcomes.add("cache", Ok(2));
        let body = body(outcomes);
        assert_eq!(
            (&body["reset"], &body["failed"]),
            (&json!("all"), &json!([]))
        );
    }
}
