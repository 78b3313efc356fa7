//! The charts of the overview, as SVG.
//!
//! A chart has no colours. Each element has a CSS class, and the style sheet gives it a colour for
//! light and dark. Coordinates are pixels of the chart's natural size; the page scales it to the
//! space it has.

mod axis;
mod markers;
mod series_style;

use std::fmt::Write;
use std::time::Duration;

use maud::{Markup, html};

use axis::{ByteAxis, TimeAxis, format_bytes, format_window};
use lab::ledger::LedgerPart;
use lab::sample_history::{PluginPoint, ProcessPoint};
pub(super) use markers::Marker;
use markers::{LABEL_WIDTH, MarkerGroup, group};
use series_style::SeriesStyle;

/// The most points of one line. A chart of this size cannot show more.
const MAX_POINTS: usize = 160;

/// A fall of a plugin's memory by this share of its maximum is drawn as a step. A smaller one
/// cannot be told from a slope.
const MIN_STEP_DOWN: f64 = 0.02;

/// The natural size of a chart, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    width: f64,
    height: f64,
}

/// A chart in the row of a plugin.
const SMALL: Size = Size {
    width: 330.0,
    height: 140.0,
};

/// A chart of the process on a wide page.
pub(super) const WIDE: Size = Size {
    width: 400.0,
    height: 200.0,
};

/// A chart of the process on a narrow page.
pub(super) const NARROW: Size = Size {
    width: 320.0,
    height: 180.0,
};

/// The space around the plot, in pixels: above for the labels of markers, below and left for the
/// labels of the axes, right for one half of the label `now`.
const MARGIN_TOP: f64 = 16.0;
const MARGIN_BOTTOM: f64 = 18.0;
const MARGIN_LEFT: f64 = 60.0;
const MARGIN_RIGHT: f64 = 22.0;

/// A line or an area: points of age in seconds and bytes.
type Series = (SeriesStyle, Vec<(f64, f64)>);

/// The retained bytes, the live heap and the linear memory of one plugin.
pub(super) fn plugin(
    name: &str,
    points: &[PluginPoint],
    window: Duration,
    markers: &[Marker],
) -> String {
    plugin_lines(name, points, window, markers, true)
}

/// The same without the retained bytes, which a plugin says of itself.
pub(super) fn masked_plugin(
    name: &str,
    points: &[PluginPoint],
    window: Duration,
    markers: &[Marker],
) -> String {
    plugin_lines(name, points, window, markers, false)
}

fn plugin_lines(
    name: &str,
    points: &[PluginPoint],
    window: Duration,
    markers: &[Marker],
    shows_retained: bool,
) -> String {
    let line = |bytes: fn(&PluginPoint) -> u64| with_steps_down(points, bytes);
    // Where lines coincide, the last one covers the others. The live bytes are a broad line, which
    // shows at both sides of the others. The retained bytes matter most.
    let mut lines = vec![
        (SeriesStyle::Live, line(|p| p.heap_live_bytes)),
        (SeriesStyle::Linear, line(|p| p.linear_bytes)),
    ];
    let last = points.last();
    let mut retained = String::new();
    if shows_retained {
        lines.push((SeriesStyle::Retained, line(|p| p.retained_bytes)));
        let bytes = last.map_or(0, |p| p.retained_bytes) as f64;
        retained = format!("retained {}, ", format_bytes(bytes));
    }
    let label = format!(
        "{name}, last {}: {retained}live {}, linear memory {}",
        format_window(window),
        format_bytes(last.map_or(0, |p| p.heap_live_bytes) as f64),
        format_bytes(last.map_or(0, |p| p.linear_bytes) as f64),
    );
    let time = TimeAxis::of(window, 0.0);
    draw(SMALL, &label, time, &[], &lines, markers)
}

/// Growth that goes on until the limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Projection {
    pub(super) bytes_per_second: f64,
    pub(super) seconds_to_limit: f64,
}

/// The resident memory of the process, and its limit in bytes. A projection takes up to a third of
/// the width, and ends at the limit if that is so near.
pub(super) fn process(
    size: Size,
    points: &[ProcessPoint],
    limit: Option<u64>,
    projection: Option<Projection>,
    window: Duration,
    markers: &[Marker],
) -> String {
    let max_future = window.as_secs_f64() / 2.0;
    let future = projection.map_or(0.0, |p| p.seconds_to_limit.min(max_future));
    let limit_line = |limit: u64| {
        let bytes = limit as f64;
        vec![(window.as_secs_f64(), bytes), (-future, bytes)]
    };
    let projected = projection.zip(points.last()).map(|(projection, now)| {
        let bytes = now.resident_bytes as f64;
        let end = bytes + projection.bytes_per_second * (future + now.age);
        vec![(now.age, bytes), (-future, end)]
    });
    let now = format_bytes(points.last().map_or(0, |p| p.resident_bytes) as f64);
    let of_limit = match limit {
        None => "no limit".to_owned(),
        Some(limit) => format!("limit {}", format_bytes(limit as f64)),
    };
    let label = format!(
        "Resident memory, last {}: {now}, {of_limit}",
        format_window(window)
    );
    let lines = [
        (
            SeriesStyle::Limit,
            limit.map(limit_line).unwrap_or_default(),
        ),
        (SeriesStyle::Projected, projected.unwrap_or_default()),
        (SeriesStyle::Resident, resident_line(points)),
    ];
    let time = TimeAxis::of(window, future);
    draw(size, &label, time, &[], &lines, markers)
}

/// The parts of the ledger as stacked areas. Together they are the resident memory.
pub(super) fn ledger(size: Size, points: &[ProcessPoint], window: Duration) -> String {
    let thinned: Vec<&ProcessPoint> = thin(points).collect();
    let mut below: Vec<f64> = vec![0.0; thinned.len()];
    let mut areas = Vec::with_capacity(LedgerPart::ALL.len());
    for part in 0..LedgerPart::ALL.len() {
        let bytes = |p: &ProcessPoint| p.parts.get(part).copied().unwrap_or(0) as f64;
        // A negative part covers the part below it, so that the top stays the resident memory.
        let above: Vec<f64> = thinned
            .iter()
            .zip(&below)
            .map(|(point, below)| below + bytes(point))
            .collect();
        let upper = thinned.iter().zip(&above).map(|(p, bytes)| (p.age, *bytes));
        let lower = thinned.iter().zip(&below).map(|(p, bytes)| (p.age, *bytes));
        let outline = upper.chain(lower.rev()).collect();
        areas.push((SeriesStyle::Part(part), outline));
        below = above;
    }
    let label = format!(
        "Resident memory by part, last {}; the ledger has the numbers",
        format_window(window)
    );
    let lines = [(SeriesStyle::Resident, resident_line(points))];
    let time = TimeAxis::of(window, 0.0);
    draw(size, &label, time, &areas, &lines, &[])
}

fn resident_line(points: &[ProcessPoint]) -> Vec<(f64, f64)> {
    thin(points)
        .map(|p| (p.age, p.resident_bytes as f64))
        .collect()
}

/// At most [`MAX_POINTS`] points at even distances, always with the newest.
fn thin<T>(points: &[T]) -> impl Iterator<Item = &T> {
    let (first, step) = thinning(points.len());
    points.iter().skip(first).step_by(step)
}

/// The index of the first point to draw, and the distance to the next one.
fn thinning(points: usize) -> (usize, usize) {
    let step = points.div_ceil(MAX_POINTS).max(1);
    (points.saturating_sub(1) % step, step)
}

/// Thinned points with vertical lines where bytes fall: a clear or a reset frees them at once,
/// however long ago the sample before it was.
fn with_steps_down(points: &[PluginPoint], bytes: fn(&PluginPoint) -> u64) -> Vec<(f64, f64)> {
    let (first, step) = thinning(points.len());
    let most = points.iter().map(bytes).max().unwrap_or(0);
    let mut line = Vec::new();
    let mut before: Option<f64> = None;
    for (index, point) in points.iter().enumerate() {
        let now = bytes(point) as f64;
        let fell = before.filter(|before| before - now > most as f64 * MIN_STEP_DOWN);
        line.extend(fell.map(|before| (point.age, before)));
        let is_drawn = index >= first && (index - first).is_multiple_of(step);
        if fell.is_some() || is_drawn {
            line.push((point.age, now));
        }
        before = Some(now);
    }
    line
}

/// Maps ages and bytes to pixels.
struct Plot {
    size: Size,
    time: TimeAxis,
    bytes: ByteAxis,
}

impl Plot {
    fn width(&self) -> f64 {
        self.size.width - MARGIN_LEFT - MARGIN_RIGHT
    }

    fn seconds_per_pixel(&self) -> f64 {
        self.time.length() / self.width()
    }

    fn left(&self) -> f64 {
        MARGIN_LEFT
    }

    fn right(&self) -> f64 {
        self.size.width - MARGIN_RIGHT
    }

    fn bottom(&self) -> f64 {
        self.size.height - MARGIN_BOTTOM
    }

    fn x(&self, age: f64) -> f64 {
        self.right() - (age + self.time.future()) / self.seconds_per_pixel()
    }

    fn y(&self, bytes: f64) -> f64 {
        let height = self.bottom() - MARGIN_TOP;
        self.bottom() - bytes / self.bytes.top() * height
    }

    /// The `points` attribute of a line or an area.
    fn points(&self, points: &[(f64, f64)]) -> String {
        let mut out = String::with_capacity(points.len() * 12);
        for (age, bytes) in points {
            // Writing to a string cannot fail.
            let _ = write!(out, "{:.1},{:.1} ", self.x(*age), self.y(*bytes));
        }
        out.truncate(out.trim_end().len());
        out
    }
}

fn draw(
    size: Size,
    label: &str,
    time: TimeAxis,
    areas: &[Series],
    lines: &[Series],
    markers: &[Marker],
) -> String {
    let all = areas.iter().chain(lines).flat_map(|(_, points)| points);
    let max = all.map(|(_, bytes)| *bytes).fold(0.0, f64::max);
    let plot = Plot {
        size,
        time,
        bytes: ByteAxis::up_to(max),
    };
    // The page's style sheet sets the size; the label describes the chart to screen readers.
    let svg = html! {
        svg.chart xmlns="http://www.w3.org/2000/svg" role="img" aria-label=(label)
            viewBox=(format!("0 0 {} {}", size.width, size.height)) {
            (axes(&plot))
            @for (style, points) in areas.iter().filter(|(_, points)| points.len() > 2) {
                polygon.area.(style.class()) points=(plot.points(points)) {}
            }
            (marker_lines(&plot, markers))
            @for (style, points) in lines.iter().filter(|(_, points)| !points.is_empty()) {
                polyline.series.(style.class()) points=(plot.points(points)) {}
            }
        }
    };
    svg.into_string()
}

/// The grid and the labels of both axes.
fn axes(plot: &Plot) -> Markup {
    html! {
        @for bytes in plot.bytes.ticks() {
            (line("grid", (plot.left(), plot.y(bytes)), (plot.right(), plot.y(bytes))))
            (text("y", (plot.left() - 5.0, plot.y(bytes)), &plot.bytes.label(bytes)))
        }
        (line("grid", (plot.left(), MARGIN_TOP), (plot.left(), plot.bottom())))
        @for age in plot.time.ticks() {
            (text("x", (plot.x(age), plot.size.height - 4.0), &plot.time.label(age)))
        }
    }
}

/// The lines and the labels of markers.
fn marker_lines(plot: &Plot, markers: &[Marker]) -> Markup {
    let groups = group(markers, plot.time.window(), plot.seconds_per_pixel());
    html! {
        @for age in groups.iter().flat_map(|group| &group.lines) {
            (line("marker", (plot.x(*age), MARGIN_TOP), (plot.x(*age), plot.bottom())))
        }
        @for (x, label) in place_labels(plot, &groups) {
            (text("marker-label", (x, MARGIN_TOP - 5.0), label))
        }
    }
}

/// The center of each label, newest first. A label at an edge moves into the chart, and away from
/// the labels of the byte axis. A label without room is left out.
fn place_labels<'a>(plot: &Plot, groups: &'a [MarkerGroup]) -> Vec<(f64, &'a str)> {
    let half = LABEL_WIDTH / 2.0;
    let mut placed: Vec<(f64, &str)> = Vec::with_capacity(groups.len());
    for group in groups {
        let x = plot.x(group.age);
        let x = x.clamp(plot.left() + half, plot.size.width - half);
        let has_room = |(newer, _): &(f64, &str)| newer - x >= LABEL_WIDTH * 0.9;
        if placed.last().is_none_or(has_room) {
            placed.push((x, &group.label));
        }
    }
    placed
}

fn line(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> Markup {
    html! {
        line.(class) x1=(px(x1)) y1=(px(y1)) x2=(px(x2)) y2=(px(y2)) {}
    }
}

fn text(class: &str, (x, y): (f64, f64), text: &str) -> Markup {
    html! { text.(class) x=(px(x)) y=(px(y)) { (text) } }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests;
