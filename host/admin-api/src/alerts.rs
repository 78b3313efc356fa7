//! `POST /admin/alerts` receives notifications of Alertmanager, `GET /admin/alerts` shows them.

pub(crate) mod notification;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::alert_store::ReceivedAlert;
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorBody};
use crate::state::ApiState;

/// The alerts that the host knows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertList {
    /// Alerts that are firing.
    firing: usize,
    /// Alerts that are resolved.
    resolved: usize,
    /// Notifications that were received since the start of the host.
    notifications: u64,
    /// Firing alerts first, then the newest change first.
    alerts: Vec<ReceivedAlert>,
}

/// The answer to a notification.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Alerts in the notification.
    received: usize,
    /// Alerts that are firing now.
    firing: usize,
}

/// The alerts that Alertmanager has sent: those that fire, and the last ones that are resolved.
#[utoipa::path(get, path = "/admin/alerts", tag = "alerts", responses((status = 200, body = AlertList)))]
pub(crate) async fn list(State(state): State<Arc<ApiState>>) -> Json<AlertList> {
    let (alerts, notifications) = state.alerts.list();
    let firing = alerts.iter().filter(|alert| alert.is_firing()).count();
    Json(AlertList {
        firing,
        resolved: alerts.len() - firing,
        notifications,
        alerts,
    })
}

/// Receives a notification of Alertmanager: the JSON of its webhook receiver, version 4.
#[utoipa::path(post, path = "/admin/alerts", tag = "alerts",
    request_body(content = Object, description = "What Alertmanager sends to a webhook receiver"),
    responses((status = 200, body = Accepted), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn receive(
    State(state): State<Arc<ApiState>>,
    body: JsonObject,
) -> Result<Json<Accepted>, ApiError> {
    let alerts = notification::parse(body)?;
    let received = alerts.len();
    let firing = state.alerts.add(alerts, Timestamp::now());
    Ok(Json(Accepted { received, firing }))
}
