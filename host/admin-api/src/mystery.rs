//! The mystery: a game in which the host decides which plugins leak, hides what they are, and
//! grades what players find out. The crate `mystery` has the plan of a game and its grading.
//!
//! | call | module |
//! |---|---|
//! | `GET`, `POST` and `DELETE /admin/mystery` | here |
//! | `POST …/join`, `…/hint`, `…/answer` | `answers` |
//! | `GET …/observe`, `…/traces` | `observe` |
//! | `GET …/report`, `…/leaderboard`, `…/truth` | `results` |

pub(crate) mod answers;
mod director;
mod function_name;
pub(crate) mod gate;
mod heap_point;
pub(crate) mod observe;
mod overview;
pub(crate) mod results;
mod start;
mod truth;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use mystery::{Difficulty, Fix, HINTS, LeakKind, Order, Visibility, graded_parts};
use serde::Serialize;
use serde_json::Value as Json_;
use utoipa::ToSchema;

use self::start::no_mystery;
use crate::auth::is_instructor;
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::mystery_run::Session;
use crate::scenario_run::parse_time;
use crate::state::ApiState;

pub(crate) use self::overview::MysteryOverview;

/// The level of a game if nobody asks for another one.
const DEFAULT_DIFFICULTY: u8 = 1;

/// The largest seed: integers up to it are exact in every JSON parser.
const MAX_SEED: u64 = (1 << 53) - 1;

/// The mystery that runs, or how to start one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MysteryBody {
    /// `none`; `running`; or `over` if its traffic has ended and answers still count.
    status: &'static str,
    /// 1 (easy) to 5 (hard); null if none runs.
    difficulty: Option<u8>,
    /// What players see: `lines`, `functions`, `plugin-metrics` or `process-metrics`.
    #[schema(value_type = Option<String>)]
    visibility: Option<Visibility>,
    /// The same in words.
    shown: Option<&'static str>,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    elapsed_seconds: Option<f64>,
    duration_seconds: Option<f64>,
    /// The seed: the same one makes the same game. Only for the instructor, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// The names under which the plugins run.
    plugins: Vec<String>,
    /// The fields of an answer that are graded.
    graded: Vec<&'static str>,
    /// What `kind` can be, with its meaning.
    kinds: Vec<Choice>,
    /// What `fix` can be.
    fixes: Vec<&'static str>,
    /// Hints of a game. Each costs more points than the one before.
    hints: usize,
    /// Participants who have joined or answered.
    participants: usize,
}

/// A value that an answer can choose.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Choice {
    name: &'static str,
    meaning: &'static str,
}

/// A mystery that was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MysteryEnded {
    /// Where the truth is.
    report: &'static str,
    /// The number of plugins that run under their own names again.
    restored: usize,
    /// The files of plugins that could not be loaded again, with the reason.
    failed: std::collections::BTreeMap<String, String>,
}

fn shown(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Lines => {
            "the process, each plugin's memory, the source lines that hold it, alerts and traces"
        }
        Visibility::Functions => {
            "the process, each plugin's memory, the five functions that hold most, alerts and traces"
        }
        Visibility::PluginMetrics => "the process, each plugin's memory, alerts and traces",
        Visibility::ProcessMetrics => "the process, alerts and traces",
    }
}

impl MysteryBody {
    fn none() -> Self {
        MysteryBody {
            status: "none",
            difficulty: None,
            visibility: None,
            shown: None,
            started_at: None,
            elapsed_seconds: None,
            duration_seconds: None,
            seed: None,
            plugins: Vec::new(),
            graded: Vec::new(),
            kinds: Vec::new(),
            fixes: Vec::new(),
            hints: HINTS,
            participants: 0,
        }
    }

    fn of(session: &Session, shows_seed: bool) -> Self {
        let (game, visibility) = (&session.game, session.game.visibility());
        let graded = graded_parts(game);
        let kinds = LeakKind::possible(game.order().difficulty).iter();
        let kinds = kinds.map(|kind| Choice {
            name: kind.name(),
            meaning: kind.description(),
        });
        MysteryBody {
            status: if session.is_over() { "over" } else { "running" },
            difficulty: Some(game.order().difficulty.level()),
            visibility: Some(visibility),
            shown: Some(shown(visibility)),
            started_at: Some(session.started_at.to_string()),
            elapsed_seconds: Some(session.elapsed().as_secs_f64()),
            duration_seconds: Some(game.order().duration.as_secs_f64()),
            seed: shows_seed.then_some(game.order().seed),
            plugins: game.players().iter().map(|p| p.alias.clone()).collect(),
            kinds: kinds.collect(),
            fixes: match graded.contains(&"fix") {
                true => Fix::ALL.iter().map(|fix| fix.name()).collect(),
                false => Vec::new(),
            },
            graded,
            hints: HINTS,
            participants: session.participants().seats().count(),
        }
    }
}

/// Waits for a start or an end in a task of its own: a client that leaves must not leave a game
/// that is half started.
async fn finished<T: Send + 'static>(
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let changed = tokio::spawn(change).await;
    changed.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}

/// Refuses everyone but the instructor, if the host has one.
fn require_instructor(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    if state.options.instructor_token.is_none() || is_instructor(&state.options, headers) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::InstructorOnly,
        "only the instructor starts and ends a mystery on this host",
        "send the header Authorization: Bearer TOKEN with the token of --instructor-token; nothing was changed",
    ))
}

/// The mystery that runs: its level, what players see, and what an answer can say.
#[utoipa::path(get, path = "/admin/mystery", tag = "mystery", responses((status = 200, body = MysteryBody)))]
pub(crate) async fn show(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
) -> Json<MysteryBody> {
    let shows_seed = require_instructor(&state, &headers).is_ok();
    let session = state.mystery.session();
    let body = session.map(|session| MysteryBody::of(&session, shows_seed));
    Json(body.unwrap_or_else(MysteryBody::none))
}

/// Starts a mystery. The seed decides which plugins leak, how and since when, and the traffic,
/// which the host sends itself. All plugins get other names and fresh instances; those that do not
/// play are put away. `difficulty` decides what players see.
#[utoipa::path(post, path = "/admin/mystery", tag = "mystery",
    request_body(content = Object, description = "`seed`: 0 to 9007199254740991, random by default; `difficulty`: 1 to 5, 1 by default; `duration`: 10s to 24h, 10m by default"),
    responses((status = 200, body = MysteryBody), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn begin(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Json<MysteryBody>, ApiError> {
    require_instructor(&state, &headers)?;
    let order = order(body)?;
    let session = finished(async move { start::start(&state, order).await }).await?;
    Ok(Json(MysteryBody::of(&session, true)))
}

fn order(mut body: JsonObject) -> Result<Order, ApiError> {
    let (seed, difficulty, duration) = (
        body.take("seed"),
        body.take("difficulty"),
        body.take("duration"),
    );
    body.reject_unknown(&["seed", "difficulty", "duration"])?;
    let seed = match seed.filter(|seed| !seed.is_null()) {
        None => rand::random_range(0..=MAX_SEED),
        Some(seed) => seed
            .as_u64()
            .filter(|seed| *seed <= MAX_SEED)
            .ok_or_else(|| {
                ApiError::invalid_value("seed", "takes an integer from 0 to 9007199254740991")
            })?,
    };
    let level = match difficulty {
        None => Some(DEFAULT_DIFFICULTY),
        Some(level) => level.as_u64().and_then(|level| u8::try_from(level).ok()),
    };
    let difficulty = level.and_then(|level| Difficulty::new(level).ok());
    let difficulty = difficulty
        .ok_or_else(|| ApiError::invalid_value("difficulty", "takes an integer from 1 to 5"))?;
    let duration = duration.filter(|duration| !duration.is_null());
    let duration = duration.map(|duration| time(&duration)).transpose()?;
    Order::new(seed, difficulty, duration).map_err(|_| duration_error())
}

fn time(duration: &Json_) -> Result<Duration, ApiError> {
    let time = duration.as_str().and_then(parse_time);
    time.ok_or_else(duration_error)
}

fn duration_error() -> ApiError {
    ApiError::invalid_value(
        "duration",
        "takes a time with its unit from 10s to 24h, such as 90s, 10m or 1h30m",
    )
}

/// Ends the mystery: the plugins run under their own names again, with their leaks off.
#[utoipa::path(delete, path = "/admin/mystery", tag = "mystery",
    responses((status = 200, body = MysteryEnded), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn end(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
) -> Result<Json<MysteryEnded>, ApiError> {
    require_instructor(&state, &headers)?;
    let unmasked = finished(async move { start::end(&state).await }).await?;
    let failed = unmasked.failed.into_iter();
    Ok(Json(MysteryEnded {
        report: "/admin/mystery/report",
        restored: unmasked.loaded,
        failed: failed
            .map(|(file, error)| (file, error.to_string()))
            .collect(),
    }))
}
