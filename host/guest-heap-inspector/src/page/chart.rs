//! The chart of live bytes over time, as SVG whose colours are in the style sheet.

use std::fmt::Write as _;
use std::sync::Arc;

use guest_heap::history::Series;
use maud::{Markup, html};

use super::numbers::{size, time};
use crate::inspector::{GuestHeap, Inspector};

/// The size of the picture, in its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 140.0;

/// Lines of a chart. The style sheet has as many colours.
const MAX_LINES: usize = 6;

/// Points of a line: more do not fit.
const MAX_POINTS: usize = 150;

/// Live bytes over time, one line for each guest or, with one guest, for each source line.
#[derive(Debug)]
pub(super) struct Chart {
    lines: Vec<ChartLine>,
    max_bytes: u64,
    covered_seconds: f64,
}

#[derive(Debug)]
struct ChartLine {
    label: String,
    /// Seconds ago, and bytes.
    points: Vec<(f64, u64)>,
}

impl Chart {
    /// `None` before the second reading.
    pub(super) fn of(inspector: &Inspector, heaps: &[Arc<GuestHeap>]) -> Option<Self> {
        let mut lines: Vec<ChartLine> = Vec::new();
        for heap in heaps.iter().take(MAX_LINES) {
            let kept = inspector.history(&heap.guest);
            let line = |label: String, series: &Series| ChartLine {
                label,
                points: series
                    .points
                    .iter()
                    .map(|(at, bytes)| (kept.now.saturating_sub(*at).as_secs_f64(), *bytes))
                    .collect(),
            };
            let history = kept.lock();
            // Without a line of its own, every line is a part of the only series.
            let all = history.series(0, MAX_POINTS);
            let label = format!("{}: all live bytes", heap.guest);
            lines.extend(all.first().map(|all| line(label, all)));
            if heaps.len() == 1 {
                let series = history.series(MAX_LINES - 2, MAX_POINTS);
                let series = series.iter();
                lines.extend(series.map(|series| line(series.site.location.to_string(), series)));
            }
        }
        lines.retain(|line| line.points.iter().any(|(_, bytes)| *bytes > 0));
        let points = || lines.iter().flat_map(|line| &line.points);
        let covered_seconds = points().map(|(ago, _)| *ago).fold(0.0, f64::max);
        let max_bytes = points().map(|(_, bytes)| *bytes).max()?;
        (points().count() > lines.len() && covered_seconds > 0.0).then_some(Chart {
            max_bytes: max_bytes.max(1),
            covered_seconds,
            lines,
        })
    }

    pub(super) fn markup(&self) -> Markup {
        let view_box = format!("0 0 {WIDTH} {HEIGHT}");
        html! {
            figure.chart {
                svg viewBox=(view_box) preserveAspectRatio="none" role="img"
                    aria-label="Live bytes over time" {
                    @for (index, line) in self.lines.iter().enumerate() {
                        polyline class=(format!("line s{index}")) points=(self.points(line)) {}
                    }
                }
                p.axis {
                    span { (time(self.covered_seconds)) " ago" }
                    span { "at most " (size(self.max_bytes)) }
                    span { "now" }
                }
                figcaption {
                    @for (index, line) in self.lines.iter().enumerate() {
                        span class=(format!("key s{index}")) { (line.label) }
                    }
                }
            }
        }
    }

    fn points(&self, line: &ChartLine) -> String {
        let mut text = String::new();
        let step = line.points.len().div_ceil(MAX_POINTS).max(1);
        // From the end, so that the last reading is always one of the points.
        for (ago, bytes) in line.points.iter().rev().step_by(step) {
            let x = WIDTH * (1.0 - ago / self.covered_seconds);
            let y = (HEIGHT - 4.0) * (1.0 - *bytes as f64 / self.max_bytes as f64) + 2.0;
            // Writing to a string cannot fail.
            let _ = write!(text, "{x:.1},{y:.1} ");
        }
        text
    }
}
