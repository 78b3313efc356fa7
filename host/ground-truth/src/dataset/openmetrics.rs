//! The series as OpenMetrics text with timestamps, which Prometheus imports.

use std::io::{self, Write};

use super::columns::Columns;
use crate::recording::series_name;
use crate::scrape::MetricType;

/// Writes all series, metric by metric, with `# EOF` at the end. A scrape that found no process has
/// no samples but that of `up`.
pub(super) fn write(columns: &Columns, mut out: impl Write) -> io::Result<()> {
    let mut last = "";
    for column in columns.by_metric() {
        if column.name != last {
            last = column.name;
            match column.kind {
                MetricType::Gauge => writeln!(out, "# TYPE {last} gauge")?,
                // The name of a counter in OpenMetrics lacks the end of its samples.
                MetricType::Counter => {
                    let family = last.strip_suffix("_total").unwrap_or(last);
                    writeln!(out, "# TYPE {family} counter")?;
                }
            }
        }
        let labels: Vec<(&str, &str)> = column
            .labels
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let series = series_name(column.name, &labels);
        for (time, value) in columns.times.iter().zip(&column.values) {
            if let Some(value) = value {
                writeln!(out, "{series} {value} {time}")?;
            }
        }
    }
    out.write_all(b"# EOF\n")?;
    out.flush()
}
