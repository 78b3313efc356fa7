//! Axes that a person can read: powers of two for bytes, minutes for time.

use std::ops::Range;
use std::time::Duration;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// Steps between two lines of an axis, in its unit.
const STEPS: [f64; 9] = [1.0, 2.0, 4.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0];

/// Lines of an axis at most.
const LINES: f64 = 4.0;

/// Up to the largest number of bytes that there is.
const UNITS: [(&str, f64); 7] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("PiB", 1_125_899_906_842_624.0),
    ("EiB", 1_152_921_504_606_846_976.0),
];

/// The unit in which this many bytes are a number of at most four digits.
fn unit(bytes: f64) -> (&'static str, f64) {
    let fits = |(_, size): &&(&str, f64)| bytes.abs() >= *size;
    UNITS.iter().rev().find(fits).copied().unwrap_or(("B", 1.0))
}

/// `5.1 MiB`.
pub(crate) fn size(bytes: f64) -> String {
    let (name, size) = unit(bytes);
    match name {
        "B" => format!("{bytes:.0} B"),
        _ => format!("{:.1} {name}", bytes / size),
    }
}

/// `5 min`.
pub(super) fn ago(window: Duration) -> String {
    match window.as_secs() {
        seconds @ 0..=90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// An axis of bytes from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    step: f64,
    lines: f64,
    unit: &'static str,
    unit_bytes: f64,
}

impl Axis {
    /// An axis that has room for `most` bytes, and for 1 KiB at least.
    pub(super) fn up_to(most: f64) -> Self {
        let most = most.max(1024.0) * 1.04;
        let (unit, unit_bytes) = unit(most);
        let wanted = most / unit_bytes / LINES;
        let half = if unit == "B" { 1.0 } else { 0.5 };
        let step = [half]
            .into_iter()
            .chain(STEPS)
            .find(|step| *step >= wanted)
            .unwrap_or(500.0);
        Axis {
            step: step * unit_bytes,
            lines: (most / unit_bytes / step).ceil(),
            unit,
            unit_bytes,
        }
    }

    /// The end of the axis, in bytes.
    pub(super) fn top(self) -> f64 {
        self.step * self.lines
    }

    /// Where its lines are, in bytes.
    pub(super) fn ticks(self) -> Vec<f64> {
        (0..=self.lines as u32)
            .map(|line| f64::from(line) * self.step)
            .collect()
    }

    /// `4 MiB`.
    pub(super) fn label(self, bytes: f64) -> String {
        let number = bytes / self.unit_bytes;
        let digits = usize::from(number.fract() != 0.0);
        format!("{number:.digits$} {}", self.unit)
    }
}

/// A linear coordinate whose lines are where an axis wants them.
#[derive(Debug)]
pub(super) struct Ticks {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ticks {
    /// Lines at `ticks`.
    pub(super) fn new(range: Range<f64>, ticks: Vec<f64>) -> Self {
        Ticks { range, ticks }
    }
}

impl Ranged for Ticks {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// The axis of time: seconds before now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    window: f64,
    step: f64,
}

impl Span {
    /// The last `window`.
    pub(super) fn of(window: Duration) -> Self {
        let window = window.as_secs_f64();
        let step = match window {
            ..=90.0 => 20.0,
            ..=400.0 => 60.0,
            _ => 300.0,
        };
        Span { window, step }
    }

    /// Where its labels are, in seconds before now as negative numbers.
    pub(super) fn ticks(self) -> Vec<f64> {
        (0..=(self.window / self.step) as u32)
            .map(|tick| -f64::from(tick) * self.step)
            .rev()
            .collect()
    }

    /// `−4 min`, `now`; nothing where the label of the other axis is.
    pub(super) fn label(self, seconds: f64) -> String {
        if seconds <= -self.window {
            return String::new();
        }
        match (seconds.abs(), self.step) {
            (..=0.5, _) => "now".to_owned(),
            (seconds, ..=30.0) => format!("−{seconds:.0} s"),
            (seconds, _) => format!("−{:.0} min", seconds / 60.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_that_a_person_can_read() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.5 KiB"),
            (5_347_737.6, "5.1 MiB"),
            (3.0 * 1_073_741_824.0, "3.0 GiB"),
            (-2048.0, "-2.0 KiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn an_axis_has_a_few_round_lines_and_room_for_the_largest() {
        for most in [
            0.0,
            1.0,
            900.0,
            5000.0,
            1e6,
            1.1e6,
            9e6,
            3e7,
            2.7e8,
            9.9e8,
            1.2e9,
            5e10,
            3e13,
            9e15,
            u64::MAX as f64,
        ] {
            let axis = Axis::up_to(most);
            let lines = axis.ticks().len() - 1;
            assert!(axis.top() >= most, "{most}: {axis:?}");
            assert!((2..=4).contains(&lines), "{most}: {lines} lines, {axis:?}");
            let labels: Vec<_> = axis.ticks().iter().map(|b| axis.label(*b)).collect();
            assert!(labels.iter().all(|l| l.len() <= 8), "{most}: {labels:?}");
        }
        let labels = |most: f64| -> Vec<String> {
            let axis = Axis::up_to(most);
            axis.ticks().iter().map(|b| axis.label(*b)).collect()
        };
        let mib = 1_048_576.0;
        assert_eq!(labels(5.2 * mib), ["0 MiB", "2 MiB", "4 MiB", "6 MiB"]);
        assert_eq!(labels(1.2 * mib), ["0 MiB", "0.5 MiB", "1 MiB", "1.5 MiB"]);
    }

    #[test]
    fn time_is_told_in_seconds_or_minutes() {
        let labels = |seconds| -> Vec<String> {
            let span = Span::of(Duration::from_secs(seconds));
            span.ticks().iter().map(|t| span.label(*t)).collect()
        };
        assert_eq!(labels(60), ["", "−40 s", "−20 s", "now"]);
        assert_eq!(
            labels(300),
            ["", "−4 min", "−3 min", "−2 min", "−1 min", "now"]
        );
        assert_eq!(labels(900), ["", "−10 min", "−5 min", "now"]);
    }
}
