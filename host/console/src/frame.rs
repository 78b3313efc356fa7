//! What a page gets once a second: the numbers in the shapes of the admin API, and the charts.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::charts::{self, Mark, NARROW, WIDE};
use super::feed::View;
use admin_api::Lab;
use admin_api::error::ApiError;
use admin_api::overview::{Overview, event_name};
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::EventKind;

#[derive(Serialize)]
struct Frame {
    #[serde(flatten)]
    overview: Overview,
    charts: Charts,
}

/// SVG documents, to be put into the page as they are.
#[derive(Serialize)]
struct Charts {
    process: String,
    ledger: String,
    /// Of the plugins that have done something.
    plugins: BTreeMap<String, String>,
}

/// The frame of one view, as JSON.
pub(super) fn draw(lab: &Lab, view: View) -> Result<String, ApiError> {
    let frame = Frame {
        overview: Overview::read(lab)?,
        charts: charts(lab, view).map_err(|e| ApiError::internal(&e))?,
    };
    serde_json::to_string(&frame).map_err(|e| ApiError::internal(&e))
}

fn charts(lab: &Lab, view: View) -> Result<Charts, String> {
    let shape = if view.wide { WIDE } else { NARROW };
    let track = lab.monitor.history().process_points(view.window);
    let limit = lab.monitor.budget().limit.map(|l| l.bytes);
    let plugins = lab.registry.plugins();
    let mut drawn = BTreeMap::new();
    let mut deaths = Vec::new();
    for plugin in plugins.iter() {
        let marks = marks(plugin);
        deaths.extend(marks.iter().filter(|(_, what)| FATAL.contains(what)));
        // A clear or a reset of everything is no deed of a plugin that has never been on.
        let was_on = |(_, what): &Mark| *what == "enabled" || FATAL.contains(what);
        if plugin.enabled() || plugin.reading().requests > 0 || marks.iter().any(was_on) {
            let track = lab
                .monitor
                .history()
                .plugin_points(plugin.id(), view.window);
            let chart = charts::plugin(plugin.id(), &track, view.window, &marks)?;
            drawn.insert(plugin.id().to_owned(), chart);
        }
    }
    deaths.sort_by(|(a, _): &Mark, (b, _)| b.total_cmp(a));
    Ok(Charts {
        process: charts::process(shape, &track, limit, view.window, &deaths)?,
        ledger: charts::ledger(shape, &track, view.window)?,
        plugins: drawn,
    })
}

/// Events that matter to the whole process, by their names.
const FATAL: [&str; 2] = ["exhausted", "trap"];

/// The events that make a mark, oldest first. Growth is the line itself.
fn marks(plugin: &Plugin) -> Vec<Mark> {
    let now = Instant::now();
    let shown = |kind: &EventKind| !matches!(kind, EventKind::Loaded | EventKind::Grown { .. });
    plugin
        .journal()
        .events()
        .iter()
        .filter(|event| shown(&event.kind))
        .map(|event| {
            let age = now.saturating_duration_since(event.at.instant);
            (age.as_secs_f64(), event_name(&event.kind))
        })
        .collect()
}
