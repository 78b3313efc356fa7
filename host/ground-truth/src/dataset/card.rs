//! The data card: what a dataset is, how it was made, and what it cannot show.

use std::fmt::Write as _;

use super::columns::{Column, Columns};
use super::table::field_name;
use super::{DatasetOptions, Labels};
use crate::scrape::{HOST_BYTES, MetricType};
use crate::simulation::RESTART_SECONDS;

/// The card in Markdown.
pub(super) fn text(options: &DatasetOptions, labels: &Labels, columns: &Columns) -> String {
    let mut text = format!(
        "# Memory of a service with leaks: seed {}, {} days\n\n\
         Labelled series of one process, a sample every {} s: {} scrapes from {} (Unix time) on. \
         They are for detectors of memory leaks: which plugin leaks, since when, and when does the \
         process reach its limit?\n\n\
         ## Files\n\n| file | content |\n|---|---|\n",
        labels.seed,
        labels.days,
        labels.scrape_seconds,
        columns.times.len(),
        labels.start,
    );
    // Writing to a string cannot fail.
    if options.parquet {
        text.push_str(
            "| `process.parquet` | one row per scrape |\n\
             | `plugins.parquet` | one row per scrape and plugin |\n",
        );
    }
    if options.openmetrics {
        text.push_str(
            "| `metrics.om` | all series as OpenMetrics with timestamps, for Prometheus |\n",
        );
    }
    text.push_str("| `labels.json` | the truth |\n\n");
    made(labels, &mut text);
    text.push_str("## Columns\n\n| column | table | type | unit |\n|---|---|---|---|\n");
    text.push_str("| `time` | both | timestamp, UTC, ms | time of the scrape |\n");
    text.push_str("| `plugin` | plugins | text | id of the plugin |\n");
    let process = [&columns.up].into_iter().chain(&columns.process);
    for column in process {
        row("process", column, &mut text);
    }
    for column in columns.plugins.first().into_iter().flatten() {
        row("plugins", column, &mut text);
    }
    text.push_str(
        "| `leaking` | both | boolean | label: a bug is active at this time; decoys are not bugs \
         |\n\nWhere no process answered, `up` is 0 and all other numbers are null. Counters begin \
         again at 0 with each process. In OpenMetrics, `state` and `outcome` are labels instead of \
         parts of a name. The meaning of each metric is in the lab's `docs/metrics.md`.\n\n",
    );
    truth(labels, &mut text);
    text.push_str(LIMITS);
    text
}

fn made(labels: &Labels, text: &mut String) {
    let _ = write!(
        text,
        "## How it was made\n\n`leak-host dataset --seed {} --days {}` ran the lab's plugins, \
         which are WebAssembly components, in simulated time. The plugins and their allocator are \
         real; requests, clock and process are simulated. The same seed gives the same bytes.\n\n\
         - Load: `{}`, {} requests per second in the mean.\n\
         - Resident memory: {HOST_BYTES} bytes for the host, and the linear memories of all \
         plugins.\n\
         - At {} bytes the process is killed. The next one answers after {RESTART_SECONDS} s, with \
         fresh instances and the same bugs.\n\
         - Before and after its bug, a plugin runs the fixed version of the same code.\n\n",
        labels.seed,
        labels.days,
        labels.load,
        labels.requests_per_second,
        labels.memory_limit_bytes,
    );
}

fn row(table: &str, column: &Column, text: &mut String) {
    let kind = match column.kind {
        MetricType::Gauge => "gauge",
        MetricType::Counter => "counter",
    };
    let name = field_name(column);
    let unit = match name.as_str() {
        name if name.contains("_bytes") => "bytes",
        name if name.contains("_seconds") => "seconds since 1970",
        name if name.contains("requests") => "requests",
        name if name.contains("invocations") => "calls",
        name if name.contains("objects") => "objects",
        _ => "0 or 1",
    };
    let _ = writeln!(text, "| `{name}` | {table} | integer, {kind} | {unit} |");
}

fn truth(labels: &Labels, text: &mut String) {
    text.push_str(
        "## Labels\n\n`labels.json` has them with all times, in seconds since 1970.\n\n\
         | plugin | role | kind | line | curve | bytes per request | episodes |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for plugin in &labels.plugins {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {:.0} | {} |",
            plugin.plugin,
            plugin.role.name(),
            plugin.kind,
            plugin
                .line
                .as_ref()
                .map_or("-".to_owned(), |line| format!("`{line}`")),
            plugin.curve,
            plugin.bytes_per_request,
            plugin.active.len(),
        );
    }
    let killed = labels.restarts.iter();
    let killed = killed.filter(|r| r.cause == crate::truth::RestartCause::Killed);
    let _ = writeln!(
        text,
        "\nThe process restarted {} times, {} of them at its memory limit.\n",
        labels.restarts.len(),
        killed.count()
    );
}

const LIMITS: &str = "\
## Limits

- The memory of the host itself is constant. A real process also gains memory once, for code and
  buffers, and its allocator adds noise.
- There are no durations, no CPU time and no forecasts of the host.
- All requests are alike: one path, no tenants, no errors.
- One process of one service. Leaks of different plugins share its limit.

## Licence

MIT or Apache-2.0, at your option, as the lab.
";
