//! Flame graphs of live bytes by call stack, and of changes since a baseline.
//!
//! A flame graph is an SVG with inline style and script, for search and zoom. It loads nothing from
//! elsewhere. Serve it over HTTP with [`CONTENT_SECURITY_POLICY`]; other pages of a site do not
//! need this policy.

mod palette;

use std::collections::{BTreeMap, HashMap};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{Options, from_lines};

use crate::diff::{Baseline, signed_difference};
use crate::folded::{frame_text, sanitize};
use crate::numbers::grouped;
use crate::reading::Context;
use crate::snapshot::Snapshot;
use crate::symbols::{self, Frame, FrameRun};

/// The `Content-Security-Policy` header for a response with a flame graph. The inline style and
/// script run in an origin of their own and cannot load anything.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; sandbox allow-scripts";

/// The media type of a flame graph.
pub const MEDIA_TYPE: &str = "image/svg+xml";

// The two legends appear in the pictures below their titles.
const LIVE_LEGEND: &str = "orange: own code, tan: infrastructure, yellow: libraries, green: bindings, blue: standard library, grey: allocator";
const DIFFERENCE_LEGEND: &str = "red: grew, blue: shrank; the width shows the change";

/// Drawing a flame graph has failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the flame graph: {0}")]
pub struct FlamegraphError(#[from] std::io::Error);

/// How a flame graph shows frames that are not the user's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Libraries {
    /// Neighbouring frames are one box, with the name of the outermost one and the number of the
    /// others.
    #[default]
    Folded,
    /// Each frame is a box.
    Shown,
}

/// Draws live bytes by call stack. The name of a guest is the outermost frame of its stacks.
///
/// # Errors
///
/// The drawing library fails. It is not known to fail for any input.
pub fn live_bytes(title: &str, guests: &[(&str, &Snapshot)]) -> Result<String, FlamegraphError> {
    live_bytes_with(title, guests, Libraries::Folded)
}

/// [`live_bytes`] with a choice of how to show frames that are not the user's own.
///
/// # Errors
///
/// As for [`live_bytes`].
pub fn live_bytes_with(
    title: &str,
    guests: &[(&str, &Snapshot)],
    libraries: Libraries,
) -> Result<String, FlamegraphError> {
    let mut stacks: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    let mut colors = PaletteMap::default();
    for (name, snapshot) in guests {
        colors.insert(sanitize(name), palette::GUEST);
        for entry in snapshot
            .entries()
            .iter()
            .filter(|entry| entry.usage.live_bytes > 0)
        {
            let frames = snapshot.frames(&entry.context);
            let mut stack = vec![sanitize(name)];
            for (text, frame) in boxes(&frames, libraries) {
                colors.insert(text.clone(), palette::frame_color(frame));
                stack.push(text);
            }
            *stacks.entry(stack).or_default() += entry.usage.live_bytes;
        }
    }
    let total: u64 = stacks.values().sum();
    let lines: Vec<String> = stacks
        .iter()
        .map(|(stack, bytes)| format!("{} {bytes}", stack.join(";")))
        .collect();
    draw(
        title,
        &format!("{} live; {LIVE_LEGEND}", human_size(total)),
        &lines,
        colors,
    )
}

/// Draws changes of live bytes by call stack. Omits unchanged stacks, so that growth stays visible
/// next to large stacks.
///
/// A baseline of another build has no call stacks in common with the snapshot. Then the graph shows
/// source lines.
///
/// # Errors
///
/// The drawing library fails. It is not known to fail for any input.
pub fn difference(
    title: &str,
    guests: &[(&str, &Baseline, &Snapshot)],
) -> Result<String, FlamegraphError> {
    difference_with(title, guests, Libraries::Folded)
}

/// [`difference`] with a choice of how to show frames that are not the user's own.
///
/// # Errors
///
/// As for [`difference`].
pub fn difference_with(
    title: &str,
    guests: &[(&str, &Baseline, &Snapshot)],
    libraries: Libraries,
) -> Result<String, FlamegraphError> {
    let mut changes: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for (name, baseline, snapshot) in guests {
        let same_build = baseline.is_same_build(snapshot);
        let texts = |context: &Context, location: &str| match same_build {
            true => {
                let frames = snapshot.frames(context);
                let boxes = boxes(&frames, libraries).into_iter().map(|(text, _)| text);
                std::iter::once(sanitize(name)).chain(boxes).collect()
            }
            false => vec![sanitize(name), sanitize(location)],
        };
        let now = snapshot
            .entries()
            .iter()
            .map(|entry| (&entry.context, &entry.site, entry.usage.live_bytes, 0));
        let then = baseline
            .entries()
            .iter()
            .map(|entry| (&entry.context, &entry.site, 0, entry.bytes));
        // Sums by context first: most contexts are unchanged, so they need no frame texts.
        let mut by_context: HashMap<&Context, (&str, i64)> = HashMap::new();
        for (context, site, now, then) in now.chain(then) {
            by_context.entry(context).or_insert((&site.location, 0)).1 +=
                signed_difference(now, then);
        }
        for (context, (location, change)) in by_context
            .into_iter()
            .filter(|(_, (_, change))| *change != 0)
        {
            *changes.entry(texts(context, location)).or_default() += change;
        }
    }
    changes.retain(|_, change| *change != 0);

    // The net change of each node, by its path from the root.
    let mut net: HashMap<&[String], i64> = HashMap::new();
    for (stack, change) in &changes {
        for depth in 1..=stack.len() {
            *net.entry(stack.get(..depth).unwrap_or_default())
                .or_default() += change;
        }
    }
    let largest = net
        .values()
        .map(|change| change.unsigned_abs())
        .max()
        .unwrap_or(1);
    let mut colors = PaletteMap::default();
    let mut lines = Vec::with_capacity(changes.len());
    for (stack, change) in &changes {
        let mut line = String::new();
        for depth in 1..=stack.len() {
            let path = stack.get(..depth).unwrap_or_default();
            let change = net.get(path).copied().unwrap_or_default();
            let text = format!(
                "{} {}",
                path.last().map_or("", String::as_str),
                signed(change, grouped_bytes)
            );
            if depth > 1 {
                line.push(';');
            }
            line.push_str(&text);
            colors.insert(text, palette::change_color(change, largest));
        }
        lines.push(format!("{line} {}", change.unsigned_abs()));
    }
    let total: i64 = changes.values().sum();
    draw(
        title,
        &format!("{} in all; {DIFFERENCE_LEGEND}", signed(total, human_size)),
        &lines,
        colors,
    )
}

/// The texts of the boxes of a stack, outermost first, with the frame that gives the colour.
fn boxes(frames: &[Frame], libraries: Libraries) -> Vec<(String, &Frame)> {
    if libraries == Libraries::Shown {
        let frames = frames.iter().rev();
        return frames.map(|frame| (frame_text(frame), frame)).collect();
    }
    let mut boxes: Vec<(String, &Frame)> = symbols::fold(frames)
        .filter_map(|run| match run {
            FrameRun::Own(frame) => Some((frame_text(frame), frame)),
            FrameRun::Libraries([frame]) => Some((frame_text(frame), frame)),
            FrameRun::Libraries(run) => {
                let outermost = run.last()?;
                let others = run.len().saturating_sub(1);
                let text = format!("{} (+{others} library frames)", frame_text(outermost));
                Some((text, outermost))
            }
        })
        .collect();
    boxes.reverse();
    boxes
}

fn draw(
    title: &str,
    subtitle: &str,
    lines: &[String],
    mut colors: PaletteMap,
) -> Result<String, FlamegraphError> {
    let title = sanitize(title);
    if lines.is_empty() {
        return Ok(empty_svg(&title));
    }
    colors.insert("", palette::ROOT);
    let mut options = Options::default();
    options.title = title;
    options.subtitle = Some(subtitle.to_owned());
    options.count_name = "bytes".to_owned();
    options.bgcolors = Some(BackgroundColor::Flat(Color {
        r: 255,
        g: 255,
        b: 255,
    }));
    options.palette_map = Some(&mut colors);
    options.notes = "live bytes of WebAssembly guests, exact, by call stack".to_owned();
    let mut svg = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
    Ok(String::from_utf8_lossy(&svg).into_owned())
}

/// An SVG that says that there is nothing to show.
fn empty_svg(title: &str) -> String {
    format!(
        "<?xml version=\"1.0\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"1200\" height=\"96\" viewBox=\"0 0 1200 96\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"600\" y=\"32\" text-anchor=\"middle\" font-family=\"monospace\" font-size=\"17\">{}</text>\n\
         <text x=\"600\" y=\"64\" text-anchor=\"middle\" font-family=\"monospace\" font-size=\"12\">nothing to show: 0 bytes</text>\n\
         </svg>\n",
        xml_escaped(title)
    )
}

fn xml_escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// `12,345 B`.
fn grouped_bytes(bytes: u64) -> String {
    grouped(bytes) + " B"
}

/// `16.5 MiB (17,304,029 B)`.
fn human_size(bytes: u64) -> String {
    let exact = grouped_bytes(bytes);
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes >> shift > 0);
    match unit {
        Some((unit, shift)) => {
            let number = bytes as f64 / f64::from(1_u32 << shift);
            format!("{number:.1} {unit} ({exact})")
        }
        None => exact,
    }
}

/// A change with its sign in front.
fn signed(change: i64, text: fn(u64) -> String) -> String {
    let sign = if change < 0 { '-' } else { '+' };
    format!("{sign}{}", text(change.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_the_exact_bytes() {
        for (bytes, short, long) in [
            (0, "+0 B", "+0 B"),
            (-999, "-999 B", "-999 B"),
            (1024, "+1,024 B", "+1.0 KiB (1,024 B)"),
            (-1_234_567, "-1,234,567 B", "-1.2 MiB (1,234,567 B)"),
            (3 << 30, "+3,221,225,472 B", "+3.0 GiB (3,221,225,472 B)"),
        ] {
            assert_eq!(signed(bytes, grouped_bytes), short);
            assert_eq!(signed(bytes, human_size), long);
        }
    }

    #[test]
    fn an_empty_graph_is_an_svg_with_an_escaped_title() {
        let svg = live_bytes("<script>alert(1)</script> & \"more\"", &[]).unwrap();
        assert!(svg.contains("nothing to show"));
        assert!(
            svg.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;"),
            "{svg}"
        );
        assert_eq!(svg.matches("<script").count(), 0);
    }
}
