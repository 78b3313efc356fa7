//! The alerts of the last notifications, bounded in number.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// The most alerts that are kept.
const MAX_KEPT: usize = 200;

/// One alert of a notification.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alert {
    pub(crate) fingerprint: String,
    pub(crate) is_firing: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) starts_at: Timestamp,
    /// `None` while it fires.
    pub(crate) ends_at: Option<Timestamp>,
}

/// The notifications that the host has received.
#[derive(Debug, Default)]
pub(crate) struct AlertStore(Mutex<Stored>);

#[derive(Debug, Default)]
struct Stored {
    /// By fingerprint: an alert that fires again replaces its last time.
    alerts: BTreeMap<String, ReceivedAlert>,
    notifications: u64,
}

/// An alert that Alertmanager has sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReceivedAlert {
    /// The name of the rule.
    name: String,
    /// `firing` or `resolved`.
    status: &'static str,
    /// The label `severity`; null without one.
    severity: Option<String>,
    /// The label `plugin`; null for an alert of the whole process.
    plugin: Option<String>,
    /// The annotation `summary`; null without one.
    summary: Option<String>,
    /// The annotation `console_url` with the moment at which the alert began to fire: the console
    /// opens on the lines that grew until then. Null without the annotation.
    console_url: Option<String>,
    /// When it began to fire, RFC 3339, UTC.
    #[schema(format = DateTime)]
    starts_at: String,
    /// When it was resolved; null while it fires.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// When the last notification about it arrived.
    #[schema(format = DateTime)]
    received_at: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl ReceivedAlert {
    fn new(alert: Alert, now: Timestamp) -> Self {
        let label = |name: &str| alert.labels.get(name).cloned();
        ReceivedAlert {
            name: label("alertname").unwrap_or_default(),
            status: if alert.is_firing {
                "firing"
            } else {
                "resolved"
            },
            severity: label("severity"),
            plugin: label("plugin").filter(|plugin| !plugin.is_empty()),
            summary: alert.annotations.get("summary").cloned(),
            console_url: alert
                .annotations
                .get("console_url")
                .map(|url| at_moment(url, alert.starts_at)),
            starts_at: alert.starts_at.to_string(),
            ends_at: alert.ends_at.map(|at| at.to_string()),
            received_at: now.to_string(),
            labels: alert.labels,
            annotations: alert.annotations,
        }
    }

    pub(crate) fn is_firing(&self) -> bool {
        self.status == "firing"
    }
}

/// Adds a moment to an address of the console.
fn at_moment(url: &str, moment: Timestamp) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}at={}", moment.as_second())
}

impl AlertStore {
    /// Forgets all alerts.
    pub(crate) fn clear(&self) {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stored.alerts.clear();
    }

    /// Adds the alerts of one notification. Returns the number of alerts that fire now.
    pub(crate) fn add(&self, alerts: Vec<Alert>, now: Timestamp) -> usize {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stored.notifications += 1;
        for alert in alerts {
            let fingerprint = alert.fingerprint.clone();
            let alert = ReceivedAlert::new(alert, now);
            let before = stored.alerts.insert(fingerprint, alert.clone());
            if before.is_none_or(|before| before.status != alert.status) {
                // Debug output escapes what a client may have sent.
                tracing::info!(alert = ?alert.name, plugin = ?alert.plugin, "alert {}", alert.status);
            }
        }
        while stored.alerts.len() > MAX_KEPT {
            let oldest = stored
                .alerts
                .iter()
                .min_by_key(|(_, alert)| (alert.is_firing(), alert.received_at.clone()));
            let Some(oldest) = oldest.map(|(fingerprint, _)| fingerprint.clone()) else {
                break;
            };
            stored.alerts.remove(&oldest);
        }
        stored.alerts.values().filter(|a| a.is_firing()).count()
    }

    /// All alerts, those that fire first, and the number of notifications.
    pub(crate) fn list(&self) -> (Vec<ReceivedAlert>, u64) {
        let stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alerts: Vec<_> = stored.alerts.values().cloned().collect();
        alerts.sort_by_key(|alert| Reverse((alert.is_firing(), alert.received_at.clone())));
        (alerts, stored.notifications)
    }
}
