//! What players send: their names, requests for hints, and answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mystery::{Answer, Grade, HINTS, Hint, grade, hints};
use serde::Serialize;
use serde_json::{Map, Value as Json_};
use utoipa::ToSchema;

use super::{no_mystery, truth};
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::mystery_run::{Answered, NotJoined, Participants, Seat, Session};
use crate::state::ApiState;

/// The fields of an answer, as the API takes them.
const ANSWER_FIELDS: [&str; 9] = [
    "game_id",
    "leaking",
    "decoys",
    "location",
    "kind",
    "bytes_per_request",
    "started_at",
    "seconds_to_limit",
    "fix",
];

/// Somebody who has joined.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Joined {
    /// Goes into each hint and answer of this participant.
    game_id: String,
    name: String,
}

/// A hint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HintBody {
    /// Its place, 1 to 3.
    number: usize,
    hint: String,
    /// The points that it costs.
    cost: u32,
    /// Hints that are left.
    left: usize,
}

/// A graded answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GradeBody {
    name: String,
    /// 0 to 100: the points of all parts without the two costs. On a host with an instructor it is
    /// null, and the report has it when the game is over: a second name must not try out answers.
    score: Option<u8>,
    /// Empty where the score is null.
    parts: Vec<PartBody>,
    /// Points that hints cost.
    hints_cost: f64,
    /// Points that time cost, 0 to 10.
    time_cost: f64,
}

/// A part of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartBody {
    /// The field of the answer.
    name: &'static str,
    points: f64,
    /// Points of a right answer. All of them add up to 100.
    of: f64,
    /// What counts as right.
    tolerance: &'static str,
    /// What was right or wrong.
    explanation: String,
}

impl GradeBody {
    fn of(seat: &str, grade: &Grade, shows_grade: bool) -> Self {
        let shown = grade.parts.iter().filter(|_| shows_grade);
        let parts = shown.map(|part| PartBody {
            name: part.name,
            points: part.points,
            of: part.of,
            tolerance: part.tolerance,
            explanation: part.explanation.clone(),
        });
        GradeBody {
            name: seat.to_owned(),
            score: shows_grade.then_some(grade.score),
            parts: parts.collect(),
            hints_cost: grade.hints_cost,
            time_cost: grade.time_cost,
        }
    }
}

/// Adds a participant under a name. Without it, a game has one participant who needs no name.
#[utoipa::path(post, path = "/admin/mystery/join", tag = "mystery",
    request_body(content = Object, description = "`name`: 1 to 40 characters"),
    responses((status = 200, body = Joined), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn join(
    State(state): State<Arc<ApiState>>,
    mut body: JsonObject,
) -> Result<Json<Joined>, ApiError> {
    let name = body.take("name");
    body.reject_unknown(&["name"])?;
    let name = name.ok_or_else(|| {
        ApiError::new(
            ErrorCode::MissingField,
            "the field \"name\" is missing",
            "send {\"name\": \"…\"} with 1 to 40 characters",
        )
    })?;
    let name = name
        .as_str()
        .ok_or_else(|| ApiError::invalid_value("name", "takes a text of 1 to 40 characters"))?;
    let session = state.mystery.session().ok_or_else(no_mystery)?;
    let joined = session.participants().join(name);
    let (game_id, name) = joined.map_err(|error| match error {
        NotJoined::Name(error) => ApiError::invalid_value("name", &error.to_string()),
        NotJoined::Taken => ApiError::new(
            ErrorCode::NameTaken,
            "somebody has joined under this name already",
            "choose another name; nothing was changed",
        ),
        NotJoined::TooMany => ApiError::new(
            ErrorCode::GameFull,
            "this game has no place for more participants",
            "start another host, or end the game and start a new one; nothing was changed",
        ),
    })?;
    Ok(Json(Joined { game_id, name }))
}

/// The next hint. Each of the three costs more points than the one before.
#[utoipa::path(post, path = "/admin/mystery/hint", tag = "mystery",
    request_body(content = Object, description = "`game_id` of a participant who has joined"),
    responses((status = 200, body = HintBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn hint(
    State(state): State<Arc<ApiState>>,
    mut body: JsonObject,
) -> Result<Json<HintBody>, ApiError> {
    let game_id = game_id(body.take("game_id"))?;
    body.reject_unknown(&["game_id"])?;
    let session = session_for(&state, game_id.as_deref())?;
    let hints = hints(&session.game);
    let mut participants = session.participants();
    let seat = seat_of(&mut participants, game_id.as_deref())?;
    let next: Option<&Hint> = hints.get(seat.hints);
    let hint = next.ok_or_else(|| {
        ApiError::new(
            ErrorCode::NoHintLeft,
            format!("all {HINTS} hints were given"),
            "POST /admin/mystery/answer with what you know",
        )
    })?;
    seat.hints += 1;
    Ok(Json(HintBody {
        number: hint.number,
        hint: hint.text.clone(),
        cost: hint.cost,
        left: HINTS - seat.hints,
    }))
}

/// Grades an answer. Each participant has one; a part that is left out gets no points.
#[utoipa::path(post, path = "/admin/mystery/answer", tag = "mystery",
    request_body(content = Object, description = "`leaking` and `decoys`: names of plugins; `location`, `kind`, `bytes_per_request`, `started_at` (seconds from the start, or RFC 3339), `seconds_to_limit`, `fix`; `game_id` of a participant who has joined"),
    responses((status = 200, body = GradeBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn answer(
    State(state): State<Arc<ApiState>>,
    body: JsonObject,
) -> Result<Json<GradeBody>, ApiError> {
    let started_at = state.mystery.session().ok_or_else(no_mystery)?.started_at;
    let (game_id, answer) = parse(body.0, started_at)?;
    let session = session_for(&state, game_id.as_deref())?;
    check_names(&answer, &session)?;
    // Before the heaps are read, which takes a moment.
    let elapsed = session.elapsed().min(session.game.order().duration);
    seat_of(&mut session.participants(), game_id.as_deref())?;
    let measured = truth::measured(&state, &session).await;
    let mut participants = session.participants();
    let seat = seat_of(&mut participants, game_id.as_deref())?;
    let grade = grade(&session.game, &measured, &answer, seat.hints, elapsed);
    let shows_grade = state.options.instructor_token.is_none();
    let body = GradeBody::of(&seat.name, &grade, shows_grade);
    seat.answered = Some(Answered {
        answer,
        grade,
        at: elapsed,
    });
    Ok(Json(body))
}

/// The game that runs, for a hint or an answer. On a host with an instructor, everybody plays under
/// a name, and until the end of the game: then the report has the solution.
fn session_for(state: &ApiState, game_id: Option<&str>) -> Result<Arc<Session>, ApiError> {
    let session = state.mystery.session().ok_or_else(no_mystery)?;
    if state.options.instructor_token.is_none() {
        return Ok(session);
    }
    if game_id.is_none() {
        return Err(ApiError::new(
            ErrorCode::MissingField,
            "the field \"game_id\" is missing: on this host, everybody plays under a name",
            "POST /admin/mystery/join with {\"name\": \"…\"} answers with one; nothing was changed",
        ));
    }
    if session.is_over() {
        return Err(ApiError::new(
            ErrorCode::GameOver,
            "the game is over",
            "GET /admin/mystery/report has the solution; nothing was changed",
        ));
    }
    Ok(session)
}

/// The seat of a participant who has not answered yet.
fn seat_of<'a>(
    participants: &'a mut Participants,
    game_id: Option<&str>,
) -> Result<&'a mut Seat, ApiError> {
    let seat = participants.seat(game_id).ok_or_else(|| {
        ApiError::new(
            ErrorCode::UnknownGame,
            "nobody in this game has this game_id",
            "POST /admin/mystery/join answers with one; nothing was changed",
        )
    })?;
    if seat.answered.is_some() {
        return Err(ApiError::new(
            ErrorCode::Answered,
            format!("{} has answered already", seat.name),
            "GET /admin/mystery/report shows the result when the game is over; nothing was changed",
        ));
    }
    Ok(seat)
}

fn game_id(value: Option<Json_>) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Json_::Null) => Ok(None),
        Some(Json_::String(id)) => Ok(Some(id)),
        Some(_) => Err(ApiError::invalid_value("game_id", "takes a text")),
    }
}

/// The game id and the answer of a body.
fn parse(
    body: Map<String, Json_>,
    started_at: Timestamp,
) -> Result<(Option<String>, Answer), ApiError> {
    let mut body = JsonObject(body);
    let mut fields = Map::new();
    let mut id = None;
    for name in ANSWER_FIELDS {
        let Some(value) = body.take(name) else {
            continue;
        };
        match name {
            "game_id" => id = game_id(Some(value))?,
            "started_at" => {
                let seconds = seconds_from_start(&value, started_at)?;
                fields.insert("started_at_seconds".to_owned(), Json_::from(seconds));
            }
            "leaking" | "decoys" if value.is_null() => {}
            _ => drop(fields.insert(name.to_owned(), value)),
        }
    }
    body.reject_unknown(&ANSWER_FIELDS)?;
    for (name, value) in &fields {
        // One field at a time, so that the error names it.
        let one = Map::from_iter([(name.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<Answer>(Json_::Object(one)) {
            return Err(ApiError::invalid_value(name, &error.to_string()));
        }
    }
    let answer = serde_json::from_value(Json_::Object(fields));
    let answer = answer.map_err(|error| ApiError::invalid_value("answer", &error.to_string()))?;
    Ok((id, answer))
}

/// A time of the game: a number of seconds from the start, or a point in time.
fn seconds_from_start(value: &Json_, started_at: Timestamp) -> Result<Option<f64>, ApiError> {
    let wrong = || {
        ApiError::invalid_value(
            "started_at",
            "takes seconds from the start of the game, or a time such as 2026-11-30T12:00:00Z",
        )
    };
    match value {
        Json_::Null => Ok(None),
        Json_::Number(seconds) => seconds.as_f64().map(Some).ok_or_else(wrong),
        Json_::String(text) => {
            let at: Timestamp = text.parse().map_err(|_| wrong())?;
            Ok(Some(at.duration_since(started_at).as_secs_f64()))
        }
        _ => Err(wrong()),
    }
}

/// Refuses names that no plugin of the game has: a typing mistake must not cost the answer.
fn check_names(answer: &Answer, session: &Session) -> Result<(), ApiError> {
    let aliases: Vec<&str> = session
        .game
        .players()
        .iter()
        .map(|p| p.alias.as_str())
        .collect();
    for (field, names) in [("leaking", &answer.leaking), ("decoys", &answer.decoys)] {
        let is_unknown = |name: &String| !aliases.contains(&name.trim().to_lowercase().as_str());
        if names.iter().any(is_unknown) {
            let accepts = format!("takes a list of {}", aliases.join(", "));
            return Err(ApiError::invalid_value(field, &accepts));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mystery::{Fix, LeakKind};
    use serde_json::json;

    fn parsed(body: Json_) -> Result<(Option<String>, Answer), ApiError> {
        let started_at: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        parse(body.as_object().unwrap().clone(), started_at)
    }

    #[test]
    fn an_answer_has_the_names_of_the_page() {
        let (id, answer) = parsed(json!({
            "game_id": "x", "leaking": ["plugin-a"], "decoys": null, "location": "a.rs:1",
            "kind": "on-error", "bytes_per_request": 512, "started_at": "2026-11-30T12:01:30Z",
            "seconds_to_limit": null, "fix": "break-the-cycle",
        }))
        .unwrap();
        assert_eq!(id.as_deref(), Some("x"));
        assert_eq!(answer.leaking, ["plugin-a"]);
        assert_eq!(answer.kind, Some(LeakKind::OnError));
        assert_eq!(answer.fix, Some(Fix::BreakTheCycle));
        assert_eq!(answer.bytes_per_request, Some(512.0));
        assert_eq!(answer.started_at_seconds, Some(90.0));
        assert_eq!(answer.seconds_to_limit, None);
        let (_, answer) = parsed(json!({"started_at": 12.5})).unwrap();
        assert_eq!(answer.started_at_seconds, Some(12.5));
        assert_eq!(parsed(json!({})).unwrap().1, Answer::default());
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (body, name) in [
            (json!({"leaks": []}), "leaks"),
            (json!({"started_at_seconds": 1}), "started_at_seconds"),
            (json!({"leaking": "plugin-a"}), "leaking"),
            (json!({"leaking": [1]}), "leaking"),
            (json!({"kind": "sometimes"}), "kind"),
            (json!({"fix": "restart"}), "fix"),
            (json!({"bytes_per_request": "5 KiB"}), "bytes_per_request"),
            (json!({"started_at": "noon"}), "started_at"),
            (json!({"started_at": []}), "started_at"),
            (json!({"game_id": 5}), "game_id"),
        ] {
            let error = parsed(body.clone()).unwrap_err().to_json();
            assert!(error.contains(name), "{body}: {error}");
        }
    }
}
