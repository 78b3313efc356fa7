//! `GET /admin/exercises` and `POST /admin/exercises/{n}/verify`: which steps of the exercises have
//! been done, judged by what the host has seen.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody, ErrorCode, shorten};
use crate::exercise_progress::{Action, EXERCISES, Step};
use crate::path_name::PathName;
use crate::state::ApiState;

/// A step of an exercise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepBody {
    /// The numbers of the exercise and the step: `2.1`.
    id: &'static str,
    /// What to do.
    step: &'static str,
    done: bool,
    /// What is missing, in one sentence; null if it is done.
    missing: Option<String>,
}

/// An exercise, and how far it has been done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExerciseBody {
    /// The number, from 1.
    exercise: usize,
    /// Whether every step is done.
    done: bool,
    steps: Vec<StepBody>,
}

/// All exercises.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExerciseList {
    exercises: Vec<ExerciseBody>,
}

impl ExerciseBody {
    fn of(state: &ApiState, exercise: usize) -> Self {
        let steps = state.exercises.steps(Step::of(exercise));
        let body = |(step, missing): (Step, Option<String>)| StepBody {
            id: step.id(),
            step: step.title(),
            done: missing.is_none(),
            missing,
        };
        ExerciseBody {
            exercise,
            done: steps.iter().all(|(_, missing)| missing.is_none()),
            steps: steps.into_iter().map(body).collect(),
        }
    }
}

impl ExerciseList {
    fn of(state: &ApiState) -> Self {
        let exercises = (1..=EXERCISES).map(|number| ExerciseBody::of(state, number));
        ExerciseList {
            exercises: exercises.collect(),
        }
    }
}

/// The exercises with their steps, and which of them have been done on this host: in the console,
/// with curl or with another client.
#[utoipa::path(get, path = "/admin/exercises", tag = "exercises", responses((status = 200, body = ExerciseList)))]
pub(crate) async fn list(State(state): State<Arc<ApiState>>) -> Json<ExerciseList> {
    state.record(&Action::Other);
    Json(ExerciseList::of(&state))
}

/// Whether an exercise has been done, with what is missing in one sentence for each step. Judged
/// by what the host has seen: which leaks were on, how many requests they received, what was read,
/// cleared and returned.
#[utoipa::path(post, path = "/admin/exercises/{number}/verify", tag = "exercises",
    params(("number" = usize, Path, description = "The number of the exercise, 1 to 6")),
    responses((status = 200, body = ExerciseBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn verify(
    State(state): State<Arc<ApiState>>,
    PathName(name): PathName,
    body: JsonObject,
) -> Result<Json<ExerciseBody>, ApiError> {
    body.reject_unknown(&[])?;
    let number = name.parse().ok().filter(|n| (1..=EXERCISES).contains(n));
    let number = number.ok_or_else(|| {
        ApiError::new(
            ErrorCode::UnknownExercise,
            format!("there is no exercise {:?}", shorten(&name)),
            "GET /admin/exercises lists them",
        )
    })?;
    state.record(&Action::Other);
    Ok(Json(ExerciseBody::of(&state, number)))
}

/// Forgets which steps have been done, so that the next learner starts with exercise 1. The leaks
/// stay as they are.
#[utoipa::path(delete, path = "/admin/exercises", tag = "exercises", responses((status = 200, body = ExerciseList)))]
pub(crate) async fn start_over(State(state): State<Arc<ApiState>>) -> Json<ExerciseList> {
    state.exercises.start_over();
    state.record(&Action::Other);
    Json(ExerciseList::of(&state))
}
