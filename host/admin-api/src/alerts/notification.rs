//! Reads the JSON of Alertmanager's webhook receiver. Nothing of it is trusted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::alert_store::Alert;
use crate::body::JsonObject;
use crate::error::{ApiError, ErrorCode, shorten};

/// The version of the format that Alertmanager has had since 0.5.
const VERSION: &str = "4";

/// The most alerts of one notification. The lab's configuration sends at most 50.
const MAX_ALERTS: usize = 256;

/// The most labels or annotations of one alert.
const MAX_TEXTS: usize = 32;

/// The longest name of a label or an annotation, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// The longest value that is kept, in characters. Longer ones are cut off.
const MAX_TEXT_CHARS: usize = 1024;

/// The alerts of a notification. Unknown fields are left out: newer versions may add some.
pub(crate) fn parse(mut body: JsonObject) -> Result<Vec<Alert>, ApiError> {
    match body.take("version") {
        Some(Value::String(version)) if version == VERSION => {}
        Some(_) => return Err(ApiError::invalid_value("version", "takes \"4\"")),
        None => {
            return Err(ApiError::new(
                ErrorCode::MissingField,
                "version: required",
                "send what Alertmanager sends to a webhook receiver; nothing was changed",
            ));
        }
    }
    let Some(Value::Array(alerts)) = body.take("alerts") else {
        return Err(ApiError::invalid_value("alerts", "takes a list of alerts"));
    };
    if alerts.len() > MAX_ALERTS {
        return Err(ApiError::invalid_value(
            "alerts",
            "takes at most 256 alerts",
        ));
    }
    alerts.into_iter().map(alert).collect()
}

fn alert(value: Value) -> Result<Alert, ApiError> {
    let Value::Object(mut fields) = value else {
        return Err(ApiError::invalid_value("alerts", "takes a list of objects"));
    };
    let is_firing = match fields.get("status").and_then(Value::as_str) {
        Some("firing") => true,
        Some("resolved") => false,
        _ => {
            return Err(ApiError::invalid_value(
                "alerts.status",
                "takes \"firing\" or \"resolved\"",
            ));
        }
    };
    let labels = texts(&mut fields, "labels", "alerts.labels")?;
    if !labels.contains_key("alertname") {
        return Err(ApiError::invalid_value(
            "alerts.labels",
            "needs an alertname",
        ));
    }
    let starts_at = time(&fields, "startsAt")?
        .ok_or_else(|| ApiError::invalid_value("alerts.startsAt", "takes an RFC 3339 time"))?;
    // While an alert fires, Alertmanager sends the year 1 or a time to come.
    let ends_at = time(&fields, "endsAt")?.filter(|_| !is_firing);
    Ok(Alert {
        fingerprint: fingerprint(&fields, &labels),
        is_firing,
        annotations: texts(&mut fields, "annotations", "alerts.annotations")?,
        labels,
        starts_at,
        ends_at,
    })
}

/// What identifies an alert: its fingerprint, or its labels.
fn fingerprint(fields: &Map<String, Value>, labels: &BTreeMap<String, String>) -> String {
    match fields.get("fingerprint").and_then(Value::as_str) {
        Some(text) if !text.is_empty() => shorten(text),
        _ => format!("{labels:?}"),
    }
}

fn time(fields: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let invalid = || ApiError::invalid_value(&format!("alerts.{name}"), "takes an RFC 3339 time");
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| invalid()),
        Some(_) => Err(invalid()),
    }
}

fn texts(
    fields: &mut Map<String, Value>,
    name: &str,
    path: &str,
) -> Result<BTreeMap<String, String>, ApiError> {
    let invalid = || ApiError::invalid_value(path, "takes an object of at most 32 short texts");
    let members = match fields.remove(name) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) if members.len() <= MAX_TEXTS => members,
        Some(_) => return Err(invalid()),
    };
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) if name.len() <= MAX_NAME_BYTES => {
            Ok((name, text.chars().take(MAX_TEXT_CHARS).collect()))
        }
        _ => Err(invalid()),
    };
    members.into_iter().map(text).collect()
}
