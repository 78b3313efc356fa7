//! An alert from the rule to the console: Prometheus fires it, Alertmanager sends it, the host
//! shows it, and its end as well.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask_support::report::Report;
use xtask_support::wait::{INTERVAL, wait_for};

use super::{TestBed, leaks};
use crate::service::Service;

/// The plugin that is exhausted.
const PLUGIN: &str = "cache";

/// From the event to the notification: two scrapes, the 15 seconds of the rule, two evaluations,
/// the wait of the group, and a busy machine.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(90);

pub(super) fn run(bed: &TestBed<'_>, report: &mut Report) -> Result<()> {
    println!("\nalerts end to end");
    if bed.stack.alertmanager.is_none() || bed.prometheus.is_none() {
        report.skip("alerts", "there is no Alertmanager or no Prometheus");
        return Ok(());
    }
    let run = bed.stack.run.clone();
    let service = Service::start(bed.files, bed.stack.addresses, &run, &[])?;
    report.check("an alert fires and arrives at the host", || {
        service.post(
            &format!("/admin/leaks/{PLUGIN}"),
            &json!({ "enabled": true, "payload_bytes": 65_536 }),
        )?;
        leaks::exhaust(&service, PLUGIN)?;
        let alert = wait_for_status(&service, "firing")?;
        let text = |field: &str| alert.get(field).and_then(Value::as_str).unwrap_or_default();
        ensure!(text("plugin") == PLUGIN, "{alert}");
        ensure!(text("severity") == "critical", "{alert}");
        Ok(text("summary").to_owned())
    });
    report.check("its end arrives too", || {
        service.post(&format!("/admin/leaks/{PLUGIN}/reset"), &json!({}))?;
        let alert = wait_for_status(&service, "resolved")?;
        ensure!(
            alert.get("ends_at").is_some_and(Value::is_string),
            "{alert}"
        );
        Ok("resolved after a reset".to_owned())
    });
    Ok(())
}

/// Waits until the host shows the alert with this status.
fn wait_for_status(service: &Service, status: &str) -> Result<Value> {
    let what = format!("the host shows no {status} alert");
    wait_for(&what, NOTIFICATION_TIMEOUT, INTERVAL, || {
        let answer = service.get("/admin/alerts")?;
        let alerts = answer.get("alerts").and_then(Value::as_array);
        let is_it = |alert: &&Value| {
            let is = |field: &str, value: &str| alert.get(field) == Some(&json!(value));
            is("name", "PluginExhausted") && is("status", status)
        };
        let found = alerts.into_iter().flatten().find(is_it);
        found.cloned().with_context(|| format!("it shows {answer}"))
    })
}
