//! Everything that changes from second to second, in the shapes of the admin API: what the console is fed with.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json_};

use super::Lab;
use super::error::ApiError;
use super::leak_status::Leaks;
use super::memory::{ForecastBody, Process, forecast_body, ledger_body, process_body};
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::{Event, EventKind, RestartReason};

/// Events that an overview shows, of all plugins together.
const EVENTS: usize = 60;

/// The process and the plugins at one moment.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// Requests to /api/data since the start.
    requests: u64,
    process: Process,
    ledger: Map<String, Json_>,
    forecast: ForecastBody,
    leaks: Leaks,
    outlooks: BTreeMap<String, Outlook>,
    events: Vec<EventRow>,
}

/// Where one plugin is going.
#[derive(Debug, Serialize)]
struct Outlook {
    /// Of what the pattern retains.
    growth_bytes_per_second: f64,
    /// Until its linear memory meets its limit.
    seconds_to_limit: Option<f64>,
    /// Changes when the plugin or the form of its settings does.
    digest: String,
}

/// One thing that happened to a plugin.
#[derive(Debug, Serialize)]
struct EventRow {
    /// Seconds since 1970-01-01T00:00:00Z.
    at: f64,
    plugin: String,
    /// `enabled`, `disabled`, `configured`, `cleared`, `reset`, `gc`, `reloaded`, `grown`, `exhausted`, `trap`, `loaded`.
    kind: &'static str,
    /// What the kind counts.
    #[serde(flatten)]
    detail: Detail,
}

/// The numbers of an event.
#[derive(Debug, Default, Serialize)]
struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Overview {
    /// Reads what there is now.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell the process's memory.
    pub fn read(lab: &Lab) -> Result<Self, ApiError> {
        let process = lab.monitor.process().map_err(|e| ApiError::internal(&e))?;
        let ledger = lab.monitor.ledger(&process, &lab.registry, &lab.heaps);
        let plugins = lab.registry.plugins();
        let mut events: Vec<(&str, Event)> = plugins
            .iter()
            .flat_map(|p| p.journal().events().into_iter().map(|e| (p.id(), e)))
            .collect();
        events.sort_by_key(|(_, event)| std::cmp::Reverse(event.at.instant));
        events.truncate(EVENTS);
        Ok(Overview {
            requests: lab.requests(),
            process: process_body(lab, &process),
            ledger: ledger_body(&ledger),
            forecast: forecast_body(&lab.monitor.process_forecast()),
            leaks: Leaks::of(lab),
            outlooks: plugins
                .iter()
                .map(|p| (p.id().to_owned(), outlook(lab, p)))
                .collect(),
            events: events
                .into_iter()
                .map(|(plugin, event)| row(plugin, event))
                .collect(),
        })
    }
}

fn outlook(lab: &Lab, plugin: &Plugin) -> Outlook {
    let details = plugin.details();
    let limit = details.settings.policy().memory_limit;
    let forecast = lab.monitor.plugin_forecast(plugin, limit);
    Outlook {
        growth_bytes_per_second: forecast.map_or(0.0, |f| f.growth.bytes_per_second),
        seconds_to_limit: forecast.and_then(|f| f.seconds_to_limit),
        digest: details.origin.digest.clone(),
    }
}

fn row(plugin: &str, event: Event) -> EventRow {
    let name = event_name(&event.kind);
    let none = Detail::default;
    let detail = match event.kind {
        EventKind::Loaded | EventKind::Enabled | EventKind::Disabled | EventKind::Configured => {
            none()
        }
        EventKind::Cleared { objects, bytes } => Detail {
            objects: Some(objects),
            bytes: Some(bytes),
            ..none()
        },
        EventKind::Restarted { generation, .. } => Detail {
            generation: Some(generation),
            ..none()
        },
        EventKind::Grown { from, to } => Detail {
            from_bytes: Some(from),
            bytes: Some(to),
            ..none()
        },
        EventKind::Exhausted { reason } | EventKind::Trapped { reason } => Detail {
            reason: Some(reason),
            ..none()
        },
    };
    EventRow {
        at: event.at.unix_seconds,
        plugin: plugin.to_owned(),
        kind: name,
        detail,
    }
}

/// The word for an event, in lists and beside its mark in a chart.
pub fn event_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Loaded => "loaded",
        EventKind::Enabled => "enabled",
        EventKind::Disabled => "disabled",
        EventKind::Configured => "configured",
        EventKind::Cleared { .. } => "cleared",
        EventKind::Restarted { why, .. } => match why {
            RestartReason::Reset => "reset",
            RestartReason::Collected => "gc",
            RestartReason::Reloaded => "reloaded",
        },
        EventKind::Grown { .. } => "grown",
        EventKind::Exhausted { .. } => "exhausted",
        EventKind::Trapped { .. } => "trap",
    }
}
