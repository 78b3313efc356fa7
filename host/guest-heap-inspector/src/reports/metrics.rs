//! The numbers of the guests for Prometheus, in its text format or as OpenMetrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use guest_heap::snapshot::GroupBy;

use super::guest::GuestSummary;
use crate::inspector::GuestHeap;

/// Lines per guest that have a series.
const MAX_LINES: usize = 20;

/// The two text formats. They differ in the names of counters, in units and in the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Prometheus,
    OpenMetrics,
}

impl TextFormat {
    /// The format that the `Accept` header of a request prefers.
    pub(crate) fn of_accept(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

struct Writer {
    format: TextFormat,
    text: String,
}

/// The labels of a series, and its value.
type Series = (Vec<(&'static str, String)>, u64);

/// A number of a guest; `None` if it is not known.
type Value = fn(&GuestSummary) -> Option<u64>;

/// Writes the numbers of all guests. Takes some milliseconds for large heaps.
pub(crate) fn text(heaps: &[Arc<GuestHeap>], format: TextFormat) -> String {
    let guests: Vec<GuestSummary> = heaps.iter().map(|heap| GuestSummary::of(heap)).collect();
    let mut writer = Writer {
        format,
        text: String::new(),
    };
    let by_guest = |value: Value| -> Vec<Series> {
        let series = guests
            .iter()
            .filter_map(|guest| Some((guest, value(guest)?)));
        series
            .map(|(guest, value)| (vec![("guest", guest.guest.clone())], value))
            .collect()
    };
    use Kind::{Counter, Gauge};
    #[rustfmt::skip] // One line for each family.
    let families: [(Kind, &str, &str, Value); 10] = [
        (Gauge, "live_bytes", "Bytes allocated and not freed.", |g| g.live_bytes),
        (Gauge, "live_blocks", "Blocks allocated and not freed.", |g| g.live_blocks),
        (Counter, "allocated_bytes", "Bytes ever allocated by this instance.", |g| g.allocated_bytes),
        (Counter, "allocated_blocks", "Blocks ever allocated by this instance.", |g| g.allocated_blocks),
        (Gauge, "linear_memory_bytes", "Linear memory without that of the profiler.", |g| g.linear_memory_bytes),
        (Gauge, "unseen_bytes", "Growth of linear memory that no known allocator made.", |g| Some(g.heap_unseen_bytes)),
        (Counter, "unknown_frees", "Frees of blocks whose allocation was not seen.", |g| Some(g.unknown_frees)),
        (Gauge, "lost_bytes", "Bytes of blocks that the profiler could not track.", |g| Some(g.lost_bytes)),
        (Gauge, "live_handles", "Resources, streams and futures that the guest has not dropped.", |g| g.live_handles),
        (Counter, "calls", "Calls that the guest has served.", |g| g.calls),
    ];
    for (kind, name, help, value) in families {
        writer.family(kind, name, help, &by_guest(value));
    }
    let attributions: Vec<Series> = guests
        .iter()
        .map(|guest| {
            let labels = vec![
                ("guest", guest.guest.clone()),
                ("attribution", guest.attribution.to_owned()),
            ];
            (labels, 1)
        })
        .collect();
    let help = "How the heap is attributed to lines: exact, partial or off.";
    writer.family(Gauge, "attribution", help, &attributions);
    let mut lines = Vec::new();
    for heap in heaps {
        let mut by_location: BTreeMap<String, u64> = BTreeMap::new();
        for group in heap.snapshot.top(GroupBy::Line, MAX_LINES) {
            *by_location.entry(group.location.to_string()).or_default() += group.usage.live_bytes;
        }
        lines.extend(by_location.into_iter().map(|(location, bytes)| {
            let labels = vec![("guest", heap.guest.clone()), ("location", location)];
            (labels, bytes)
        }));
    }
    let help = "Bytes allocated and not freed, of the 20 lines of a guest with most of them.";
    writer.family(Gauge, "line_live_bytes", help, &lines);
    writer.end()
}

impl Writer {
    /// Writes one family, unless it has no series.
    fn family(&mut self, kind: Kind, name: &str, help: &str, series: &[Series]) {
        if series.is_empty() {
            return;
        }
        let total = if kind == Kind::Counter { "_total" } else { "" };
        // In OpenMetrics the name of a counter's family has no suffix.
        let suffix = match self.format {
            TextFormat::Prometheus => total,
            TextFormat::OpenMetrics => "",
        };
        let type_name = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP guest_heap_{name}{suffix} {help}");
        let _ = writeln!(self.text, "# TYPE guest_heap_{name}{suffix} {type_name}");
        if self.format == TextFormat::OpenMetrics && name.ends_with("_bytes") {
            let _ = writeln!(self.text, "# UNIT guest_heap_{name} bytes");
        }
        for (labels, value) in series {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let labels = labels.join(",");
            let _ = writeln!(self.text, "guest_heap_{name}{total}{{{labels}}} {value}");
        }
    }

    fn end(mut self) -> String {
        if self.format == TextFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
