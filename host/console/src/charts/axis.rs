//! The axes of a chart: round numbers of bytes, and seconds or minutes before now.

use std::time::Duration;

/// The steps between two grid lines, in the unit of the axis. There is also half a unit, except for
/// bytes.
const STEPS: [f64; 9] = [1.0, 2.0, 4.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0];

/// The most grid lines above zero.
const MAX_GRID_LINES: f64 = 4.0;

/// The largest unit has room for every `u64`.
const UNITS: [(&str, f64); 7] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("PiB", 1_125_899_906_842_624.0),
    ("EiB", 1_152_921_504_606_846_976.0),
];

/// The unit in which these bytes are a number of at most four digits.
fn unit(bytes: f64) -> (&'static str, f64) {
    let fits = |(_, size): &&(&str, f64)| bytes.abs() >= *size;
    UNITS.iter().rev().find(fits).copied().unwrap_or(("B", 1.0))
}

/// `5.1 MiB`.
pub(super) fn format_bytes(bytes: f64) -> String {
    let (name, size) = unit(bytes);
    match name {
        "B" => format!("{bytes:.0} B"),
        _ => format!("{:.1} {name}", bytes / size),
    }
}

/// `5 min`; up to 90 s in seconds.
pub(super) fn format_window(window: Duration) -> String {
    match window.as_secs() {
        seconds @ 0..=90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// The vertical axis: bytes from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByteAxis {
    step: f64,
    lines: f64,
    unit: &'static str,
    unit_bytes: f64,
}

impl ByteAxis {
    /// An axis with room for `max` bytes, and for at least 1 KiB.
    pub(super) fn up_to(max: f64) -> Self {
        let max = max.max(1024.0) * 1.04;
        let (unit, unit_bytes) = unit(max);
        let min_step = max / unit_bytes / MAX_GRID_LINES;
        let half = if unit == "B" { 1.0 } else { 0.5 };
        let step = [half]
            .into_iter()
            .chain(STEPS)
            .find(|step| *step >= min_step)
            .unwrap_or(500.0);
        ByteAxis {
            step: step * unit_bytes,
            lines: (max / unit_bytes / step).ceil(),
            unit,
            unit_bytes,
        }
    }

    /// The end of the axis, in bytes.
    pub(super) fn top(self) -> f64 {
        self.step * self.lines
    }

    /// The grid lines, in bytes, from 0 to the top.
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

/// The horizontal axis: seconds before now, and some after it. A time after now has a negative age.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeAxis {
    window: f64,
    future: f64,
    step: f64,
}

impl TimeAxis {
    /// An axis of the last `window` and the next `future` seconds.
    pub(super) fn of(window: Duration, future: f64) -> Self {
        let window = window.as_secs_f64();
        let step = match window {
            ..=90.0 => 20.0,
            ..=400.0 => 60.0,
            _ => 300.0,
        };
        TimeAxis {
            window,
            future,
            step,
        }
    }

    /// The seconds before now.
    pub(super) fn window(self) -> f64 {
        self.window
    }

    /// The seconds after now.
    pub(super) fn future(self) -> f64 {
        self.future
    }

    /// The length of the axis, in seconds.
    pub(super) fn length(self) -> f64 {
        self.window + self.future
    }

    /// The ages of the labels, in seconds, oldest first. The left end has none: the labels of the
    /// other axis are there.
    pub(super) fn ticks(self) -> Vec<f64> {
        (0..(self.window / self.step).ceil() as u32)
            .map(|tick| f64::from(tick) * self.step)
            .rev()
            .collect()
    }

    /// `−4 min`, `−20 s`, `now`.
    pub(super) fn label(self, age: f64) -> String {
        match (age, self.step) {
            (..=0.5, _) => "now".to_owned(),
            (age, ..=30.0) => format!("−{age:.0} s"),
            (age, _) => format!("−{:.0} min", age / 60.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.5 KiB"),
            (5_347_737.6, "5.1 MiB"),
            (3.0 * 1_073_741_824.0, "3.0 GiB"),
            (-2048.0, "-2.0 KiB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }

    #[test]
    fn a_byte_axis_has_two_to_four_round_lines_and_room_for_the_maximum() {
        for max in [
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
            let axis = ByteAxis::up_to(max);
            let lines = axis.ticks().len() - 1;
            assert!(axis.top() >= max, "{max}: {axis:?}");
            assert!((2..=4).contains(&lines), "{max}: {lines} lines, {axis:?}");
            let labels: Vec<_> = axis.ticks().iter().map(|b| axis.label(*b)).collect();
            assert!(labels.iter().all(|l| l.len() <= 8), "{max}: {labels:?}");
        }
        let labels = |max: f64| -> Vec<String> {
            let axis = ByteAxis::up_to(max);
            axis.ticks().iter().map(|b| axis.label(*b)).collect()
        };
        let mib = 1_048_576.0;
        assert_eq!(labels(5.2 * mib), ["0 MiB", "2 MiB", "4 MiB", "6 MiB"]);
        assert_eq!(labels(1.2 * mib), ["0 MiB", "0.5 MiB", "1 MiB", "1.5 MiB"]);
    }

    #[test]
    fn a_time_axis_is_labeled_in_seconds_or_minutes() {
        let labels = |seconds| -> Vec<String> {
            let axis = TimeAxis::of(Duration::from_secs(seconds), 0.0);
            axis.ticks().iter().map(|age| axis.label(*age)).collect()
        };
        assert_eq!(labels(60), ["−40 s", "−20 s", "now"]);
        assert_eq!(labels(300), ["−4 min", "−3 min", "−2 min", "−1 min", "now"]);
        assert_eq!(labels(900), ["−10 min", "−5 min", "now"]);
    }
}
