//! The content of one update of a page: the numbers in the admin API's own JSON, and the charts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use crate::charts::{self, Marker, NARROW, Projection, WIDE};
use crate::view::View;
use admin_api::ApiState;
use admin_api::error::ApiError;
use admin_api::overview::{Overview, event_name};
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::EventKind;

/// Events of a plugin that matter to the whole process, by name.
const FAILURES: [&str; 2] = ["exhausted", "trap"];

#[derive(Serialize)]
struct Update {
    #[serde(flatten)]
    overview: Overview,
    charts: Charts,
}

/// SVG documents. The page inserts them unchanged.
#[derive(Serialize)]
struct Charts {
    process: String,
    ledger: String,
    /// Charts of the plugins that were ever on.
    plugins: BTreeMap<String, String>,
}

/// The update of one view, as JSON.
pub(crate) fn render(state: &ApiState, view: View) -> Result<String, ApiError> {
    let update = Update {
        overview: Overview::read(state)?,
        charts: charts(state, view),
    };
    serde_json::to_string(&update).map_err(|e| ApiError::internal(&e))
}

fn charts(state: &ApiState, view: View) -> Charts {
    let size = if view.wide { WIDE } else { NARROW };
    let process = state.monitor.history().process_points(view.window);
    let limit = state.monitor.budget().limit.map(|limit| limit.bytes);
    let forecast = state.monitor.process_forecast();
    let seconds_to_limit = forecast.seconds_to_limit.filter(|seconds| *seconds > 0.0);
    let projection = seconds_to_limit.map(|seconds_to_limit| Projection {
        bytes_per_second: forecast.growth.bytes_per_second,
        seconds_to_limit,
    });
    let moment = view.moment.and_then(age_of);
    let mut plugin_charts = BTreeMap::new();
    let mut failures = Vec::new();
    let hides_plugins = state.hides_plugins();
    let plugins = match state.shows_plugin_memory() {
        true => state.registry.plugins(),
        false => Arc::default(),
    };
    for plugin in plugins.iter() {
        let mut markers = markers(plugin);
        if hides_plugins {
            // The others tell when the host makes a plugin leak.
            markers.retain(|(_, kind)| *kind == "reset" || FAILURES.contains(kind));
        }
        failures.extend(markers.iter().filter(|(_, kind)| FAILURES.contains(kind)));
        // Clearing or resetting all leaks also leaves events at plugins that were never on.
        let was_on = |(_, kind): &Marker| *kind == "enabled" || FAILURES.contains(kind);
        if plugin.enabled() || plugin.reading().requests > 0 || markers.iter().any(was_on) {
            let points = state
                .monitor
                .history()
                .plugin_points(plugin.id(), view.window);
            markers.extend(moment);
            oldest_first(&mut markers);
            let draw = match hides_plugins {
                true => charts::masked_plugin,
                false => charts::plugin,
            };
            let chart = draw(plugin.id(), &points, view.window, &markers);
            plugin_charts.insert(plugin.id().to_owned(), chart);
        }
    }
    failures.extend(moment);
    oldest_first(&mut failures);
    Charts {
        process: charts::process(size, &process, limit, projection, view.window, &failures),
        ledger: charts::ledger(size, &process, view.window),
        plugins: plugin_charts,
    }
}

/// The marker of a moment that a link has chosen. `None` for one to come.
fn age_of(unix_seconds: i64) -> Option<Marker> {
    let age = Timestamp::now().as_second().checked_sub(unix_seconds)?;
    (age >= 0).then_some((age as f64, "alert"))
}

fn oldest_first(markers: &mut [Marker]) {
    markers.sort_by(|(a, _), (b, _)| b.total_cmp(a));
}

/// The events of a plugin that a chart marks, oldest first. Growth is not marked: the line shows
/// it.
fn markers(plugin: &Plugin) -> Vec<Marker> {
    let now = Instant::now();
    let marked = |kind: &EventKind| !matches!(kind, EventKind::Loaded | EventKind::Grown { .. });
    plugin
        .journal()
        .events()
        .iter()
        .filter(|event| marked(&event.kind))
        .map(|event| {
            let age = now.saturating_duration_since(event.at.instant);
            (age.as_secs_f64(), event_name(&event.kind))
        })
        .collect()
}
