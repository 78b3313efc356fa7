//! Events in a chart: a vertical line for each, and one label for those that are close to each
//! other.

/// An event in a chart: its age in seconds, and the name of its kind.
pub(crate) type Marker = (f64, &'static str);

/// The width of a marker's label, in pixels.
pub(super) const LABEL_WIDTH: f64 = 64.0;

/// The shortest distance of two marker lines, in pixels. Lines that are closer would be a gray
/// block.
const MIN_LINE_DISTANCE: f64 = 5.0;

/// Markers that share one label.
#[derive(Debug)]
pub(super) struct MarkerGroup {
    /// The age of the newest marker.
    pub(super) age: f64,
    /// `reset`, or `3 × reset`.
    pub(super) label: String,
    /// The ages at which a line is drawn.
    pub(super) lines: Vec<f64>,
}

/// Groups the markers of the last `window` seconds, newest first. `markers` are oldest first.
///
/// A group ends where the next marker is at least a label's width older. Its label names the newest
/// event, with the number of events of this kind that follow each other.
pub(super) fn group(markers: &[Marker], window: f64, seconds_per_pixel: f64) -> Vec<MarkerGroup> {
    let max_distance = LABEL_WIDTH * seconds_per_pixel;
    let min_line_distance = MIN_LINE_DISTANCE * seconds_per_pixel;
    let mut groups = Vec::new();
    let newest_first = markers.iter().rev();
    let mut visible = newest_first.filter(|(age, _)| *age <= window).peekable();
    while let Some((age, kind)) = visible.next() {
        let (mut count, mut same, mut lines) = (1, true, vec![*age]);
        while let Some((next, other)) = visible.next_if(|(next, _)| next - age < max_distance) {
            same &= other == kind;
            count += usize::from(same);
            if lines
                .last()
                .is_none_or(|last| next - last >= min_line_distance)
            {
                lines.push(*next);
            }
        }
        let label = match count {
            1 => (*kind).to_owned(),
            _ => format!("{count} × {kind}"),
        };
        groups.push(MarkerGroup {
            age: *age,
            label,
            lines,
        });
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_that_are_close_share_a_label() {
        let markers = [
            (400.0, "too old"),
            (290.0, "reset"),
            (104.0, "enabled"),
            (103.0, "reset"),
            (102.0, "reset"),
            (100.0, "reset"),
            (20.0, "enabled"),
            (19.0, "reset"),
            (18.0, "enabled"),
        ];
        let groups = group(&markers, 300.0, 40.0 / LABEL_WIDTH);
        let labels: Vec<_> = groups.iter().map(|group| group.label.as_str()).collect();
        assert_eq!(labels, ["enabled", "3 × reset", "reset"]);
        // Two lines are at least 3.1 s apart at this scale.
        assert_eq!(groups[1].lines, [100.0, 104.0]);
    }
}
