//! The pictures of the overview, drawn with plotters as SVG.
//!
//! A picture carries no colour of its own: each [`Ink`] is a colour that means nothing and that the style sheet replaces,
//! so that one picture fits light and dark. It is drawn in thirds of a pixel, because plotters has whole coordinates.

mod axis;
mod ink;

use std::fmt::Write;
use std::time::Duration;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(super) use axis::size;
use axis::{Axis, Span, Ticks, ago};
pub(super) use ink::{Ink, PARTS};

use lab::history::{PluginPoint, ProcessPoint};

/// Coordinates per pixel.
const SCALE: i32 = 3;

/// Points of one line: more than a picture of this size can show.
const POINTS: usize = 160;

/// A mark in a chart: seconds ago, and what happened.
pub(super) type Mark = (f64, &'static str);

/// The size of a picture, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    width: i32,
    height: i32,
}

/// In the row of a plugin.
pub(super) const SMALL: Size = Size {
    width: 330,
    height: 140,
};

/// Of the process, where there is room.
pub(super) const WIDE: Size = Size {
    width: 400,
    height: 200,
};

/// Of the process, on a small screen.
pub(super) const NARROW: Size = Size {
    width: 320,
    height: 180,
};

type DrawingError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// The three lines of one plugin.
///
/// # Errors
///
/// When plotters fails, which it has no reason to: it writes into memory.
pub(super) fn plugin(
    name: &str,
    track: &[PluginPoint],
    window: Duration,
    marks: &[Mark],
) -> Result<String, String> {
    let line = |of: fn(&PluginPoint) -> u64| -> Vec<(f64, f64)> {
        thin(track).map(|p| (-p.age, of(p) as f64)).collect()
    };
    // Linear memory last: where lines coincide, the one that people ask about lies on top.
    let lines = [
        (Ink::Linear, line(|p| p.linear_bytes)),
        (Ink::Live, line(|p| p.heap_live_bytes)),
        (Ink::Retained, line(|p| p.retained_bytes)),
    ];
    let last = track.last();
    let text = format!(
        "{name}, last {}: retained {}, live {}, linear memory {}",
        ago(window),
        size(last.map_or(0, |p| p.retained_bytes) as f64),
        size(last.map_or(0, |p| p.heap_live_bytes) as f64),
        size(last.map_or(0, |p| p.linear_bytes) as f64),
    );
    draw(SMALL, &text, window, &[], &lines, marks)
}

/// Resident bytes of the process, and its limit.
///
/// # Errors
///
/// As [`plugin`].
pub(super) fn process(
    shape: Size,
    track: &[ProcessPoint],
    limit: Option<u64>,
    window: Duration,
    marks: &[Mark],
) -> Result<String, String> {
    let rss: Vec<_> = thin(track)
        .map(|p| (-p.age, p.resident_bytes as f64))
        .collect();
    let edge = limit.map(|limit| {
        let limit = limit as f64;
        vec![(-window.as_secs_f64(), limit), (0.0, limit)]
    });
    let now = size(track.last().map_or(0, |p| p.resident_bytes) as f64);
    let text = match limit {
        None => format!(
            "Memory of the process, last {}: {now}, no limit",
            ago(window)
        ),
        Some(limit) => format!(
            "Memory of the process, last {}: {now} of a limit of {}",
            ago(window),
            size(limit as f64)
        ),
    };
    let lines = [(Ink::Limit, edge.unwrap_or_default()), (Ink::Rss, rss)];
    draw(shape, &text, window, &[], &lines, marks)
}

/// The parts of the ledger, one upon the other: they end at the resident bytes.
///
/// # Errors
///
/// As [`plugin`].
pub(super) fn ledger(
    shape: Size,
    track: &[ProcessPoint],
    window: Duration,
) -> Result<String, String> {
    let kept: Vec<&ProcessPoint> = thin(track).collect();
    let mut below: Vec<f64> = vec![0.0; kept.len()];
    let mut bands = Vec::with_capacity(PARTS.len());
    for (part, ink) in PARTS.iter().enumerate() {
        let bytes = |p: &ProcessPoint| p.parts.get(part).copied().unwrap_or(0) as f64;
        // A part below zero lies over what is below it: the top stays the resident bytes.
        let above: Vec<f64> = kept.iter().zip(&below).map(|(p, b)| b + bytes(p)).collect();
        let lower = kept.iter().zip(&below).map(|(p, y)| (-p.age, *y)).rev();
        let upper = kept.iter().zip(&above).map(|(p, y)| (-p.age, *y));
        bands.push((*ink, upper.chain(lower).collect::<Vec<_>>()));
        below = above;
    }
    let rss = kept
        .iter()
        .map(|p| (-p.age, p.resident_bytes as f64))
        .collect();
    let text = format!(
        "Where the memory of the process is, last {}; the table has the numbers",
        ago(window)
    );
    draw(shape, &text, window, &bands, &[(Ink::Rss, rss)], &[])
}

/// At most [`POINTS`], evenly, the newest always.
fn thin<T>(track: &[T]) -> impl Iterator<Item = &T> {
    let step = track.len().div_ceil(POINTS).max(1);
    let first = track.len().saturating_sub(1) % step;
    track.iter().skip(first).step_by(step)
}

/// Pixels left of the lines, for the labels of the axis.
const LEFT: i32 = 60;

/// Pixels right of the lines, for half of the last label.
const MARGIN_RIGHT: f64 = 22.0;

/// Pixels that the words of a mark take.
const WORD: f64 = 64.0;

/// Pixels between two lines of marks, so that many are no grey block.
const LINES_APART: f64 = 5.0;

/// The marks that share one word.
struct Label {
    /// Of the newest.
    age: f64,
    words: String,
    /// The ages whose lines are drawn.
    merged: Vec<f64>,
}

/// Newest first: where marks are closer than `room` seconds, the newest has the word, with a count if more of its kind
/// follow it.
fn labels(marks: &[Mark], window: Duration, room: f64) -> Vec<Label> {
    let mut labels: Vec<Label> = Vec::new();
    let apart = room * LINES_APART / WORD;
    let shown = |mark: &&Mark| mark.0 <= window.as_secs_f64();
    let mut shown = marks.iter().rev().filter(shown).peekable();
    while let Some((age, what)) = shown.next() {
        let (mut count, mut same, mut merged) = (1, true, vec![*age]);
        while let Some((next, other)) = shown.next_if(|(next, _)| next - age < room) {
            same &= other == what;
            count += usize::from(same);
            if merged.last().is_none_or(|last| next - last >= apart) {
                merged.push(*next);
            }
        }
        let words = match count {
            1 => (*what).to_owned(),
            _ => format!("{count} × {what}"),
        };
        labels.push(Label {
            age: *age,
            words,
            merged,
        });
    }
    labels
}

type Shape = (Ink, Vec<(f64, f64)>);

fn draw(
    shape: Size,
    text: &str,
    window: Duration,
    bands: &[Shape],
    lines: &[Shape],
    marks: &[Mark],
) -> Result<String, String> {
    let mut svg = String::new();
    picture(&mut svg, shape, window, bands, lines, marks).map_err(|e| e.to_string())?;
    // The size comes from the style sheet, the words for those who do not see it from here.
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let (width, height) = (shape.width * SCALE, shape.height * SCALE);
    let mut out = String::with_capacity(body.len() + 256);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 {width} {height}\" aria-label=\"{}\">",
        maud::html! { (text) }.into_string()
    );
    out.push_str(body);
    Ok(out)
}

fn picture<'a>(
    svg: &'a mut String,
    shape: Size,
    window: Duration,
    bands: &[Shape],
    lines: &[Shape],
    marks: &[Mark],
) -> Result<(), DrawingError<'a>> {
    let root = SVGBackend::with_string(
        svg,
        ((shape.width * SCALE) as u32, (shape.height * SCALE) as u32),
    )
    .into_drawing_area();
    let points = || bands.iter().chain(lines).flat_map(|(_, points)| points);
    let most = points().map(|(_, y)| *y).fold(0.0, f64::max);
    let (axis, span) = (Axis::up_to(most), Span::of(window));
    let text = |ink: Ink| ("sans-serif", 12 * SCALE).into_font().color(&ink.color());
    let mut chart = ChartBuilder::on(&root)
        .margin_top(16 * SCALE)
        .margin_right(MARGIN_RIGHT as i32 * SCALE)
        .set_label_area_size(LabelAreaPosition::Left, LEFT * SCALE)
        .set_label_area_size(LabelAreaPosition::Bottom, 18 * SCALE)
        .build_cartesian_2d(
            Ticks::new(-window.as_secs_f64()..0.0, span.ticks()),
            Ticks::new(0.0..axis.top(), axis.ticks()),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(Ink::Grid.color().stroke_width(SCALE as u32))
        .axis_style(Ink::Grid.color().stroke_width(SCALE as u32))
        .label_style(text(Ink::Text))
        .x_label_formatter(&|seconds| span.label(*seconds))
        .y_label_formatter(&|bytes| axis.label(*bytes))
        .draw()?;
    for (ink, band) in bands.iter().filter(|(_, points)| points.len() > 2) {
        chart.draw_series([Polygon::new(band.clone(), ink.color().filled())])?;
    }
    let second = (f64::from(shape.width - LEFT) - MARGIN_RIGHT) / window.as_secs_f64();
    let word = text(Ink::Mark).pos(Pos::new(HPos::Center, VPos::Bottom));
    let mut worded = f64::INFINITY;
    for Label { age, words, merged } in labels(marks, window, WORD / second) {
        let at = -age;
        for at in merged.into_iter().map(|age| -age) {
            let line = vec![(at, 0.0), (at, axis.top())];
            let style = Ink::Mark.color().stroke_width(SCALE as u32);
            chart.draw_series([PathElement::new(line, style)])?;
        }
        // At an edge the words stay within the picture, and off the label of the axis.
        let half = WORD / 2.0 / second;
        let middle = at
            .min(MARGIN_RIGHT / second - half)
            .max(half - window.as_secs_f64());
        if worded - middle >= half * 1.8 {
            worded = middle;
            chart.draw_series([Text::new(words, (middle, axis.top()), word.clone())])?;
        }
    }
    for (ink, line) in lines.iter().filter(|(_, points)| !points.is_empty()) {
        let style = ink.color().stroke_width(2 * SCALE as u32);
        chart.draw_series([PathElement::new(line.clone(), style)])?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(points: u32) -> Vec<PluginPoint> {
        let point = |age: u32| PluginPoint {
            age: f64::from(age),
            linear_bytes: 5 << 20,
            retained_bytes: u64::from(points - age) << 10,
            heap_live_bytes: u64::from(points - age) << 10,
        };
        (0..points).rev().map(point).collect()
    }

    #[test]
    fn a_picture_names_its_units_and_says_in_words_what_it_shows() {
        let window = Duration::from_secs(300);
        let svg = plugin("cache", &track(300), window, &[(100.0, "cleared")]).unwrap();
        for part in [
            "role=\"img\"",
            "aria-label=\"cache, last 5 min: retained 300.0 KiB, live 300.0 KiB, linear memory 5.0 MiB\"",
            "MiB",
            "−4 min",
            "now",
            "cleared",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(svg.trim_end().ends_with("</svg>"));
        assert!(!svg.contains("style="), "a strict policy refuses it: {svg}");
        assert!(svg.len() < 16 << 10, "{} bytes", svg.len());
    }

    #[test]
    fn marks_that_are_close_share_a_word() {
        let window = Duration::from_secs(300);
        let marks = [
            (290.0, "reset"),
            (104.0, "enabled"),
            (103.0, "reset"),
            (102.0, "reset"),
            (100.0, "reset"),
            (20.0, "enabled"),
            (19.0, "reset"),
            (18.0, "enabled"),
            (400.0, "too old"),
        ];
        let labels = labels(&marks, window, 40.0);
        let words: Vec<_> = labels.iter().map(|label| label.words.as_str()).collect();
        assert_eq!(words, ["enabled", "3 × reset", "reset"]);
        // Lines are 3 s apart at least here.
        assert_eq!(labels[1].merged, [100.0, 104.0]);
    }

    #[test]
    fn a_name_cannot_leave_its_attribute() {
        let svg = plugin("\"><script>", &[], Duration::from_secs(60), &[]).unwrap();
        assert!(!svg.contains("<script>"), "{svg}");
    }

    #[test]
    fn pictures_of_nothing_are_pictures() {
        for window in [60, 300, 900].map(Duration::from_secs) {
            process(NARROW, &[], None, window, &[]).unwrap();
            process(WIDE, &[], Some(256 << 20), window, &[]).unwrap();
            ledger(WIDE, &[], window).unwrap();
        }
    }

    #[test]
    fn the_newest_point_is_never_left_out() {
        for count in [0, 1, 2, 159, 160, 161, 320, 899, 900] {
            let track: Vec<u32> = (0..count).collect();
            let kept: Vec<_> = thin(&track).collect();
            assert!(kept.len() <= POINTS, "{count}");
            assert_eq!(kept.last().copied(), track.last(), "{count}");
        }
    }

    #[test]
    fn the_ledger_ends_at_the_resident_bytes() {
        let point = |age: f64, unattributed: i64| ProcessPoint {
            age,
            resident_bytes: 100,
            parts: [50, 30, 5, 10, 0, 5, 5, unattributed],
        };
        let svg = ledger(
            WIDE,
            &[point(2.0, -5), point(1.0, -5), point(0.0, -5)],
            Duration::from_secs(60),
        )
        .unwrap();
        for ink in PARTS {
            assert!(svg.contains(&ink.hex()), "{ink:?} in {svg}");
        }
    }
}
