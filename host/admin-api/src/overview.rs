//! The part of the state that changes every second, in the admin API's own JSON: the content of the
//! console's event stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json_};

use crate::catalogue::LeakGroup;
use crate::error::ApiError;
use crate::leak_status::{Leaks, Listing};
use crate::memory::{ForecastBody, Process, forecast_body, ledger_body, process_body};
use crate::mystery::MysteryOverview;
use crate::state::ApiState;
use crate::verdict::VerdictBody;
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::{Event, EventKind, RestartReason};

/// The most events of an overview, of all plugins together.
const MAX_EVENTS: usize = 60;

/// The process and the plugins now.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// Requests to /api/data since the start.
    requests: u64,
    verdict: VerdictBody,
    process: Process,
    ledger: Map<String, Json_>,
    forecast: ForecastBody,
    leaks: Leaks,
    outlooks: BTreeMap<String, Outlook>,
    /// What is missing for each step of the exercises; null for a step that is done.
    steps: BTreeMap<&'static str, Option<String>>,
    events: Vec<EventRow>,
    /// Null unless a mystery runs. Leaks, outlooks and events are empty then.
    mystery: Option<MysteryOverview>,
}

/// The growth of one plugin.
#[derive(Debug, Serialize)]
struct Outlook {
    /// Growth of the bytes that the pattern retains.
    growth_bytes_per_second: f64,
    /// Seconds until its linear memory reaches its limit; null if it does not grow.
    seconds_to_limit: Option<f64>,
    /// SHA-256 of the component. The page loads the plugin's settings again when it changes.
    digest: String,
    /// The exercises, the patterns and the decoys are listed apart.
    group: LeakGroup,
}

/// One event of a plugin.
#[derive(Debug, Serialize)]
struct EventRow {
    /// Seconds since 1970-01-01T00:00:00Z.
    at: f64,
    plugin: String,
    /// `enabled`, `disabled`, `on`, `off`, `configured`, `cleared`, `reset`, `gc`, `reloaded`,
    /// `grown`, `exhausted`, `trap`, `loaded`.
    kind: &'static str,
    #[serde(flatten)]
    detail: Detail,
}

/// The fields that depend on the kind of the event.
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
    /// Reads the present state.
    ///
    /// # Errors
    ///
    /// 500 if the process's memory cannot be read from `/proc`.
    pub fn read(state: &ApiState) -> Result<Self, ApiError> {
        let (process, ledger) = state.process_and_ledger()?;
        let mystery = MysteryOverview::read(state);
        let plugins = match &mystery {
            None => state.registry.plugins(),
            Some(_) => Arc::default(),
        };
        let mut events: Vec<(&str, Event)> = plugins
            .iter()
            .flat_map(|p| p.journal().events().into_iter().map(|e| (p.id(), e)))
            .collect();
        events.sort_by_key(|(_, event)| std::cmp::Reverse(event.at.instant));
        events.truncate(MAX_EVENTS);
        Ok(Overview {
            requests: state.requests(),
            verdict: VerdictBody::of(state),
            process: process_body(state, &process),
            ledger: ledger_body(&ledger),
            forecast: forecast_body(&state.monitor.process_forecast()),
            leaks: Leaks::new(plugins.clone(), Listing::All),
            outlooks: plugins
                .iter()
                .map(|p| (p.id().to_owned(), outlook(state, p)))
                .collect(),
            steps: state.record_overview(),
            events: events
                .into_iter()
                .map(|(plugin, event)| row(plugin, event))
                .collect(),
            mystery,
        })
    }
}

fn outlook(state: &ApiState, plugin: &Plugin) -> Outlook {
    let details = plugin.details();
    let limit = details.settings.policy().memory_limit;
    let forecast = state.monitor.plugin_forecast(plugin, limit);
    Outlook {
        growth_bytes_per_second: forecast.map_or(0.0, |f| f.growth.bytes_per_second),
        seconds_to_limit: forecast.and_then(|f| f.seconds_to_limit),
        digest: details.source.digest.clone(),
        group: LeakGroup::of(plugin),
    }
}

fn row(plugin: &str, event: Event) -> EventRow {
    let name = event_name(&event.kind);
    let none = Detail::default;
    let detail = match event.kind {
        EventKind::Loaded
        | EventKind::Enabled
        | EventKind::Disabled
        | EventKind::ScheduledOn
        | EventKind::ScheduledOff
        | EventKind::Configured => none(),
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

/// The name of an event's kind, in the event list and at its marker in a chart.
pub fn event_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Loaded => "loaded",
        EventKind::Enabled => "enabled",
        EventKind::Disabled => "disabled",
        EventKind::ScheduledOn => "on",
        EventKind::ScheduledOff => "off",
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
