//! The committed recordings: three lines for each shape, in promtool's notation of samples.

use anyhow::{Context, Result, ensure};

/// All recordings of a time scale.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) shapes: Vec<Shape>,
}

/// What a scrape sees of one pattern under one load.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) pattern: String,
    /// Requests per second.
    pub(super) rate: String,
    /// `steady` or `pauses`.
    pub(super) load: String,
    /// Live bytes.
    pub(super) live: Vec<u64>,
    pub(super) live_text: String,
    /// Bytes of linear memory.
    pub(super) linear: Vec<u64>,
    pub(super) linear_text: String,
}

impl Recording {
    /// # Errors
    /// When the text is no recording.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let shapes = lines.chunks(3).map(Shape::parse);
        let shapes = shapes.collect::<Result<Vec<_>>>()?;
        ensure!(!shapes.is_empty(), "it contains no recording");
        Ok(Self { shapes })
    }
}

impl Shape {
    fn parse(lines: &[&str]) -> Result<Self> {
        let [head, live, linear] = lines else {
            anyhow::bail!("a recording has three lines, not {}", lines.len());
        };
        let words: Vec<&str> = head.split(' ').collect();
        let ["shape", pattern, rate, load] = words.as_slice() else {
            anyhow::bail!("{head:?} is no head of a recording");
        };
        let live_text = live
            .strip_prefix("live ")
            .context("no line of live bytes")?;
        let linear_text = linear
            .strip_prefix("linear ")
            .context("no line of linear memory")?;
        let shape = Self {
            pattern: (*pattern).to_owned(),
            rate: (*rate).to_owned(),
            load: (*load).to_owned(),
            live: samples(live_text)?,
            live_text: live_text.to_owned(),
            linear: samples(linear_text)?,
            linear_text: linear_text.to_owned(),
        };
        ensure!(
            shape.live.len() == shape.linear.len() && shape.live.len() > 1,
            "{}: {} and {} samples",
            shape.title(),
            shape.live.len(),
            shape.linear.len()
        );
        Ok(shape)
    }

    /// Its name: pattern, rate and load.
    pub(super) fn title(&self) -> String {
        format!("{} {} {}", self.pattern, self.rate, self.load)
    }

    /// The time of the last sample.
    pub(super) fn seconds(&self, step_seconds: u64) -> u64 {
        (self.live.len() as u64).saturating_sub(1) * step_seconds
    }

    /// The time from which on live memory never was higher than before.
    pub(super) fn grows_until(&self, step_seconds: u64) -> u64 {
        let mut highest = 0;
        let mut at = 0;
        for (time, live) in (0_u64..).map(|n| n * step_seconds).zip(&self.live) {
            if *live > highest {
                (highest, at) = (*live, time);
            }
        }
        at
    }

    /// Live bytes gained per second while they grow.
    pub(super) fn growth(&self, step_seconds: u64) -> u64 {
        let first = self.live.first().copied().unwrap_or_default();
        let highest = self.live.iter().max().copied().unwrap_or_default();
        highest.saturating_sub(first) / self.grows_until(step_seconds).max(1)
    }
}

/// The values that promtool's notation stands for: `5`, `5x3` and `5+2x3`.
fn samples(text: &str) -> Result<Vec<u64>> {
    let mut samples = Vec::new();
    for word in text.split(' ') {
        let wrong = || format!("{word:?} is no sample");
        let (value, more) = word.split_once('x').unwrap_or((word, "0"));
        let more: u32 = more.parse().with_context(wrong)?;
        let sign = value.find(['+', '-']).unwrap_or(value.len());
        let (value, step) = value.split_at(sign);
        let step: i64 = if step.is_empty() {
            0
        } else {
            step.parse().with_context(wrong)?
        };
        let mut value: u64 = value.parse().with_context(wrong)?;
        samples.push(value);
        for _ in 0..more {
            value = value.checked_add_signed(step).with_context(wrong)?;
            samples.push(value);
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_of_promtool_is_read() {
        assert_eq!(
            samples("7 5x2 1+2x2 9-4x2").unwrap(),
            [7, 5, 5, 5, 1, 3, 5, 9, 5, 1]
        );
        assert!(samples("5+x2").is_err());
        assert!(samples("5-3x2").is_err());
    }

    #[test]
    fn a_shape_knows_how_long_and_how_fast_it_grows() {
        let text = "# a comment\nshape cache 10 steady\nlive 100+50x4 300x5\nlinear 1000x10\n";
        let recording = Recording::parse(text).unwrap();
        let shape = &recording.shapes[0];
        assert_eq!(shape.title(), "cache 10 steady");
        assert_eq!(shape.seconds(5), 50);
        assert_eq!((shape.grows_until(5), shape.growth(5)), (20, 10));
    }
}
