//! What has to fire for each shape, and the table of what did.

use std::fmt::Write as _;

use super::recording::Shape;
use super::{Firing, Firings, HOST_BYTES, PROCESS_LIMIT_BYTES, Scale};

/// A pattern that retains memory: an alert about a leak is true.
const LEAKS: &[&str] = &[
    "cache",
    "history",
    "listeners",
    "reference-cycle",
    "unbounded-queue",
    "sessions",
    "uncancelled-timers",
    "metric-labels",
    "peak-buffers",
    "doubling",
    "cache-sawtooth",
    "cache-step",
];

/// The only pattern whose linear memory grows without its live memory.
const FRAGMENTATION: &str = "fragmentation";

/// Its steps are twice as far apart each time, so the end of its growth shows late.
const DOUBLING: &str = "doubling";

/// The slowest leak that must be suspected, in bytes per second.
const SLOWEST: u64 = 2000;

/// A shape and what fired.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    shape: &'a Shape,
    firings: Firings,
    scale: &'a Scale,
}

impl<'a> Judged<'a> {
    pub(super) fn new(shape: &'a Shape, firings: Firings, scale: &'a Scale) -> Self {
        Self {
            shape,
            firings,
            scale,
        }
    }

    fn firing(&self, alert: &str) -> Option<&Firing> {
        self.firings.get(alert)
    }

    fn is_leak(&self) -> bool {
        LEAKS.contains(&self.shape.pattern.as_str())
    }

    /// The latest time at which the rules must suspect it. `None` if it is no leak, too slow, or
    /// over before.
    fn suspected_by(&self) -> Option<u64> {
        let step = self.scale.step_seconds;
        let growth = self.shape.growth(step);
        if !self.is_leak() || growth < SLOWEST {
            return None;
        }
        let near = |linear: u64| {
            let left = PROCESS_LIMIT_BYTES.saturating_sub(HOST_BYTES + linear);
            // The rules read the floor of live memory, which is older.
            left / growth < self.scale.horizon_seconds * 8 / 10
        };
        let mut linear = self.shape.linear.iter();
        let near = linear.position(|linear| near(*linear))? as u64 * step;
        let by = near.max(self.scale.suspected_after_seconds);
        (self.shape.grows_until(step) > by).then_some(by)
    }

    /// Everything that is wrong.
    pub(super) fn faults(&self) -> Vec<String> {
        let step = self.scale.step_seconds;
        let end = self.shape.seconds(step);
        let mut faults = Vec::new();
        for (alert, firing) in &self.firings {
            let allowed = if alert == "Fragmentation" {
                self.shape.pattern == FRAGMENTATION
            } else {
                self.is_leak()
            };
            if !allowed {
                faults.push(format!("{alert} fires after {} s", firing.first));
            } else if firing.starts > 1 {
                faults.push(format!("{alert} starts {} times", firing.starts));
            }
        }
        if let Some(by) = self.suspected_by() {
            let grown = self.shape.grows_until(step);
            match self.firing("LeakSuspect") {
                None => faults.push("LeakSuspect never fires".to_owned()),
                Some(firing) => {
                    if firing.first > by {
                        faults.push(format!("LeakSuspect fires only after {} s", firing.first));
                    }
                    if firing.last < grown {
                        faults.push(format!(
                            "LeakSuspect ends after {} s, the growth after {grown} s",
                            firing.last
                        ));
                    }
                    let late = grown + self.scale.forgotten_after_seconds;
                    if firing.last > late && end > late && self.shape.pattern != DOUBLING {
                        faults.push(format!(
                            "LeakSuspect still fires after {} s, although growth ended after {grown} s",
                            firing.last
                        ));
                    }
                }
            }
        }
        faults
            .into_iter()
            .map(|fault| format!("{}, {}: {fault}", self.scale.name, self.shape.title()))
            .collect()
    }

    /// When the leak was suspected, and how many times the alert stopped and started again.
    fn cell(&self) -> String {
        let mut text = match self.firing("LeakSuspect") {
            None if self.is_leak() && self.suspected_by().is_none() => "n/a".to_owned(),
            None => "-".to_owned(),
            Some(firing) if firing.starts > 1 => {
                format!("{} s, {} gaps", firing.first, firing.starts - 1)
            }
            Some(firing) => format!("{} s", firing.first),
        };
        if let Some(firing) = self.firing("Fragmentation") {
            // Writing to a string cannot fail.
            let _ = write!(text, " F {} s", firing.first);
        }
        text
    }
}

/// A line for each pattern and load, with a column for each rate.
pub(super) fn table(judged: &[Judged<'_>], scale: &Scale) -> String {
    let mut text = format!(
        "\n{}: when LeakSuspect fires (F: Fragmentation), by requests per second. n/a: below \
         {SLOWEST} B/s, the limit far away, or over before\n",
        scale.name
    );
    let mut rates: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for one in judged {
        let row = (one.shape.pattern.as_str(), one.shape.load.as_str());
        if !rows.contains(&row) {
            rows.push(row);
        }
        if !rates.contains(&one.shape.rate.as_str()) {
            rates.push(&one.shape.rate);
        }
    }
    let _ = write!(text, "{:<28}", "");
    for rate in &rates {
        let _ = write!(text, "{rate:>16}");
    }
    text.push('\n');
    for (pattern, load) in rows {
        let _ = write!(text, "{:<28}", format!("{pattern} {load}"));
        for rate in &rates {
            let found = judged.iter().find(|one| {
                let shape = one.shape;
                (
                    shape.pattern.as_str(),
                    shape.load.as_str(),
                    shape.rate.as_str(),
                ) == (pattern, load, rate)
            });
            let _ = write!(text, "{:>16}", found.map(Judged::cell).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::SCALES;
    use super::super::recording::Recording;
    use super::*;

    fn faults(pattern: &str, firings: &[(&str, Firing)]) -> usize {
        let text = format!("shape {pattern} 10 steady\nlive 0+51200x240\nlinear 0+51200x240\n");
        let recording = Recording::parse(&text).unwrap();
        let firings: BTreeMap<_, _> = firings
            .iter()
            .map(|(alert, firing)| ((*alert).to_owned(), *firing))
            .collect();
        Judged::new(&recording.shapes[0], firings, &SCALES[0])
            .faults()
            .len()
    }

    const ONCE: Firing = Firing {
        first: 100,
        last: 1200,
        starts: 1,
    };

    #[test]
    fn a_leak_fires_once_until_the_end_and_a_decoy_never() {
        assert_eq!(faults("cache", &[("LeakSuspect", ONCE)]), 0);
        assert_eq!(faults("cache", &[]), 1);
        assert_eq!(
            faults("cache", &[("LeakSuspect", Firing { last: 600, ..ONCE })]),
            1
        );
        assert_eq!(
            faults("cache", &[("LeakSuspect", Firing { first: 900, ..ONCE })]),
            1
        );
        assert_eq!(
            faults("cache", &[("LeakSuspect", Firing { starts: 2, ..ONCE })]),
            1
        );
        assert_eq!(faults("sawtooth", &[("LeakSuspect", ONCE)]), 1);
        assert_eq!(faults("sawtooth", &[]), 0);
    }

    #[test]
    fn fragmentation_is_reported_of_fragmentation_only() {
        assert_eq!(faults("fragmentation", &[("Fragmentation", ONCE)]), 0);
        assert_eq!(faults("fragmentation", &[("LeakSuspect", ONCE)]), 1);
        let both = [("LeakSuspect", ONCE), ("Fragmentation", ONCE)];
        assert_eq!(faults("cache", &both), 1);
    }
}
