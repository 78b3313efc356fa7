//! `POST /admin/scorer/alertmanager` and `GET`, `DELETE /admin/scorer`: scores alerts while they
//! fire.
//!
//! The host knows when each of its leaks became active, so it can judge the notifications of an
//! Alertmanager. `leak-host score` does the same for rules in simulated time, with the same judge.

mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ground_truth::score::{AlertScore, Observation, healthy_seconds, judge, judge_together};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::alerts::notification;
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody};
use crate::scorer_run::seconds;
use crate::state::ApiState;

pub(crate) use self::truth::of_mystery;

/// An alert is still true for this long after its leak has ended: the windows of the lab's rules
/// reach back so far.
const GRACE_SECONDS: u64 = 300;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// The answer to a notification.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recorded {
    /// Alerts in the notification.
    received: usize,
    /// Firings that the scorer knows.
    firings: usize,
}

/// What is true of one plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TruthRow {
    plugin: String,
    /// `leak`, `decoy` or `healthy`.
    role: &'static str,
    /// When it became active, RFC 3339.
    #[schema(format = DateTime)]
    onset: Option<String>,
    /// Seconds from the onset to the memory limit at the present growth; null without growth.
    seconds_to_limit: Option<u64>,
}

/// How one alert did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScoreRow {
    /// Each leak, by plugin: `seconds_to_detect`, null if it was missed; `lead_seconds` before the
    /// limit.
    #[schema(value_type = Vec<Object>)]
    leaks: Vec<ground_truth::score::LeakScore>,
    /// How often it fired without a reason.
    false_alarms: usize,
    /// The same per day without a leak.
    false_alarms_per_day: f64,
    /// How often it was resolved and fired again while a leak went on.
    flaps: u64,
}

/// The scores of the alerts that were received.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Scores {
    /// When the recording began, RFC 3339.
    #[schema(format = DateTime)]
    since: String,
    truth: Vec<TruthRow>,
    /// By the name of the alert.
    alerts: BTreeMap<String, ScoreRow>,
    /// All alerts together: a leak is found when the first of them reports it.
    together: ScoreRow,
}

impl ScoreRow {
    fn of(score: AlertScore, healthy_seconds: u64) -> Self {
        let false_alarms = score.false_alarms.len();
        let days = (healthy_seconds as f64 / SECONDS_PER_DAY).max(1.0 / SECONDS_PER_DAY);
        ScoreRow {
            leaks: score.leaks,
            false_alarms,
            false_alarms_per_day: false_alarms as f64 / days,
            flaps: score.flaps,
        }
    }
}

/// Records the alerts of a notification: the JSON of Alertmanager's webhook receiver, version 4.
#[utoipa::path(post, path = "/admin/scorer/alertmanager", tag = "alerts",
    request_body(content = Object, description = "What Alertmanager sends to a webhook receiver"),
    responses((status = 200, body = Recorded), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn receive(
    State(state): State<Arc<ApiState>>,
    body: JsonObject,
) -> Result<Json<Recorded>, ApiError> {
    let alerts = notification::parse(body)?;
    let firings = state.scorer.record(&alerts);
    Ok(Json(Recorded {
        received: alerts.len(),
        firings,
    }))
}

/// The scores of the alerts that were received: time to detect and lead time for each leak, false
/// alarms and flaps. The host knows when each leak became active.
#[utoipa::path(get, path = "/admin/scorer", tag = "alerts", responses((status = 200, body = Scores)))]
pub(crate) async fn show(State(state): State<Arc<ApiState>>) -> Json<Scores> {
    let recorded = state.scorer.recorded();
    let now = Timestamp::now();
    let mut truths = recorded.past.clone();
    truths.extend(truth::of_plugins(&state, now));
    let observation = Observation {
        truths: &truths,
        from: seconds(recorded.since),
        until: seconds(now),
        grace_seconds: GRACE_SECONDS,
        restarts: &[],
    };
    let (firings, healthy) = (recorded.firings(), healthy_seconds(&observation));
    let alerts = judge(&firings, &BTreeSet::new(), &observation).into_iter();
    let at = |second: u64| {
        let second = i64::try_from(second).unwrap_or(i64::MAX);
        Timestamp::from_second(second).map_or_else(|_| String::new(), |at| at.to_string())
    };
    Json(Scores {
        since: recorded.since.to_string(),
        truth: truths
            .iter()
            .map(|truth| TruthRow {
                plugin: truth.plugin.clone(),
                role: truth.role.name(),
                onset: truth.onset.map(at),
                seconds_to_limit: truth.seconds_to_limit,
            })
            .collect(),
        alerts: alerts
            .map(|(name, score)| (name, ScoreRow::of(score, healthy)))
            .collect(),
        together: ScoreRow::of(judge_together(&firings, &observation), healthy),
    })
}

/// Forgets the alerts that were recorded, and begins again.
#[utoipa::path(delete, path = "/admin/scorer", tag = "alerts", responses((status = 200, body = Recorded)))]
pub(crate) async fn forget(State(state): State<Arc<ApiState>>) -> Json<Recorded> {
    state.scorer.restart();
    Json(Recorded {
        received: 0,
        firings: 0,
    })
}
