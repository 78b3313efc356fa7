//! What players and the instructor read afterwards: report, leader board and truth.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use mystery::{Participant, Report};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{no_mystery, truth};
use crate::auth::is_instructor;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::mystery_run::Session;
use crate::query::{ApiQuery, QueryParameters};
use crate::state::ApiState;

/// The policy of the report's page: it has a style and loads nothing.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The format of a report or a leader board.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FormatQuery {
    /// `json`, `markdown` or `html` for a report; `json` or `csv` for a leader board; `json` by
    /// default.
    format: Option<String>,
}

impl QueryParameters for FormatQuery {
    const NAMES: &str = "format";
}

impl FormatQuery {
    fn name(&self) -> &str {
        self.format.as_deref().unwrap_or("json")
    }
}

/// The report of the game that runs or was played last: what happened, the solution and the graded
/// answers. It is there when the game is over and, on a host without an instructor, once somebody
/// has answered.
#[utoipa::path(get, path = "/admin/mystery/report", tag = "mystery", params(FormatQuery),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn report(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<FormatQuery>,
) -> Result<Response, ApiError> {
    let session = state.mystery.last_session().ok_or_else(no_mystery)?;
    let has_no_secret = session.is_over()
        || is_instructor(&state.options, &headers)
        || state.options.instructor_token.is_none() && session.participants().has_answer();
    if !has_no_secret {
        return Err(ApiError::new(
            ErrorCode::MysteryRunning,
            "the mystery is not over, and its report has the solution",
            "answer with POST /admin/mystery/answer, or wait for the end",
        ));
    }
    let report = report_of(&state, &session).await;
    match query.name() {
        "json" => Ok(Json(report).into_response()),
        "markdown" => {
            let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
            Ok(([(header::CONTENT_TYPE, kind)], report.to_markdown()).into_response())
        }
        "html" => {
            let policy = [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)];
            Ok((policy, Html(report.to_html())).into_response())
        }
        _ => Err(ApiError::invalid_value(
            "format",
            "takes json, markdown or html",
        )),
    }
}

async fn report_of(state: &ApiState, session: &Session) -> Report {
    let (played, measured) = match session.ended() {
        Some(ended) => ended,
        None => (session.elapsed(), truth::measured(state, session).await),
    };
    let participants = session.participants();
    let participants = participants.seats().filter_map(|seat| {
        let answered = seat.answered.as_ref()?;
        Some(Participant {
            name: seat.name.clone(),
            elapsed: answered.at,
            hints: u8::try_from(seat.hints).unwrap_or(u8::MAX),
            answer: answered.answer.clone(),
            grade: answered.grade.clone(),
        })
    });
    Report::new(&session.game, played, measured, participants.collect())
}

/// The participants of the game that runs or was played last, best first. On a host with an
/// instructor, only they see it before the end.
#[utoipa::path(get, path = "/admin/mystery/leaderboard", tag = "mystery", params(FormatQuery),
    responses((status = 200, body = Object), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn leader_board(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<FormatQuery>,
) -> Result<Response, ApiError> {
    let session = state.mystery.last_session().ok_or_else(no_mystery)?;
    let is_secret = state.options.instructor_token.is_some()
        && !session.is_over()
        && !is_instructor(&state.options, &headers);
    if is_secret {
        return Err(ApiError::new(
            ErrorCode::MysteryRunning,
            "the mystery is not over: scores and seed would help those who have not answered",
            "wait for the end, or send the instructor's token",
        ));
    }
    let board = session.participants().leader_board(session.game.order());
    match query.name() {
        "json" => Ok(Json(board).into_response()),
        "csv" => {
            let kind = HeaderValue::from_static("text/csv; charset=utf-8");
            Ok(([(header::CONTENT_TYPE, kind)], board.to_csv()).into_response())
        }
        _ => Err(ApiError::invalid_value("format", "takes json or csv")),
    }
}

/// The solution while the game runs, for the instructor: the same as the report.
#[utoipa::path(get, path = "/admin/mystery/truth", tag = "mystery",
    responses((status = 200, body = Object), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn truth(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
) -> Result<Json<Report>, ApiError> {
    if !is_instructor(&state.options, &headers) {
        return Err(ApiError::new(
            ErrorCode::InstructorOnly,
            "only the instructor sees the truth while a mystery runs",
            "start the host with --instructor-token TOKEN and send the header Authorization: Bearer TOKEN",
        ));
    }
    let session = state.mystery.last_session().ok_or_else(no_mystery)?;
    Ok(Json(report_of(&state, &session).await))
}
