//! What each leak of a mystery has left behind since its onset, as the host measures it. It is the
//! truth that answers are compared with.

use std::collections::BTreeMap;

use crate::units::difference;

/// A line counts as a line of the leak if it holds at least this share of what the largest one
/// holds.
const MIN_SHARE_OF_LARGEST: f64 = 0.2;

/// A source line, and the function that it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) location: String,
    pub(crate) function: String,
}

/// The heap of a plugin at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeapPoint {
    /// Requests to the service since the start of the host.
    requests: u64,
    live_bytes: u64,
    lines: BTreeMap<Line, u64>,
}

/// What was left behind between two moments.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Gain {
    /// Requests to the service.
    pub(crate) requests: u64,
    pub(crate) bytes: i64,
    lines: BTreeMap<Line, i64>,
}

/// The gain of one leak since its onset. A fresh instance begins at zero, so the ledger carries
/// what the instances before had left behind.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeakLedger {
    carried: Gain,
    /// `None` while a fresh instance sets itself up.
    since: Option<HeapPoint>,
}

impl HeapPoint {
    /// A reading after this many requests to the service.
    pub(crate) fn new(
        requests: u64,
        live_bytes: u64,
        lines: impl IntoIterator<Item = (Line, u64)>,
    ) -> Self {
        HeapPoint {
            requests,
            live_bytes,
            lines: lines.into_iter().collect(),
        }
    }

    fn gain_until(&self, later: &HeapPoint) -> Gain {
        let before = |line: &Line| self.lines.get(line).copied().unwrap_or_default();
        let lines = later.lines.iter();
        Gain {
            requests: later.requests.saturating_sub(self.requests),
            bytes: difference(later.live_bytes, self.live_bytes),
            lines: lines
                .map(|(line, bytes)| {
                    let gain = difference(*bytes, before(line));
                    (line.clone(), gain)
                })
                .collect(),
        }
    }
}

impl Gain {
    fn add(&mut self, more: Gain) {
        self.requests += more.requests;
        self.bytes += more.bytes;
        for (line, bytes) in more.lines {
            *self.lines.entry(line).or_default() += bytes;
        }
    }

    /// Bytes that one request to the service leaves behind, on average; 0 without a request.
    pub(crate) fn bytes_per_request(&self) -> f64 {
        if self.requests == 0 {
            return 0.0;
        }
        (self.bytes as f64 / self.requests as f64).max(0.0)
    }

    /// The lines that hold what was left behind, the largest first.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<_> = self.lines.iter().filter(|(_, bytes)| **bytes > 0).collect();
        lines.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
        let largest = lines.first().map_or(0, |(_, bytes)| **bytes) as f64;
        lines.retain(|(_, bytes)| **bytes as f64 >= largest * MIN_SHARE_OF_LARGEST);
        lines.into_iter().map(|(line, _)| line.clone()).collect()
    }
}

impl LeakLedger {
    /// Begins at the onset.
    pub(crate) fn begin(onset: HeapPoint) -> Self {
        LeakLedger {
            carried: Gain::default(),
            since: Some(onset),
        }
    }

    /// Ends with the last reading of an instance. What the next one allocates at first is no leak.
    pub(crate) fn suspend(&mut self, last: &HeapPoint) {
        if let Some(since) = self.since.take() {
            self.carried.add(since.gain_until(last));
        }
    }

    /// Goes on with a fresh instance, whose first calls are over.
    pub(crate) fn resume(&mut self, fresh: HeapPoint) {
        self.since = Some(fresh);
    }

    /// Everything that was left behind until `now`.
    pub(crate) fn gain_until(&self, now: &HeapPoint) -> Gain {
        let mut gain = self.carried.clone();
        if let Some(since) = &self.since {
            gain.add(since.gain_until(now));
        }
        gain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(requests: u64, lines: &[(&str, u64)]) -> HeapPoint {
        let lines = lines.iter().map(|(location, bytes)| {
            let line = Line {
                location: (*location).to_owned(),
                function: "keep".to_owned(),
            };
            (line, *bytes)
        });
        let lines: BTreeMap<_, _> = lines.collect();
        HeapPoint {
            requests,
            live_bytes: lines.values().sum(),
            lines,
        }
    }

    #[test]
    fn a_fresh_instance_carries_on_with_what_the_one_before_left_behind() {
        let mut ledger = LeakLedger::begin(point(100, &[("a.rs:1", 5000), ("a.rs:9", 10)]));
        let before_deploy = point(200, &[("a.rs:1", 15_000), ("a.rs:9", 10)]);
        let gain = ledger.gain_until(&before_deploy);
        assert_eq!((gain.requests, gain.bytes), (100, 10_000));
        assert_eq!(gain.bytes_per_request(), 100.0);

        ledger.suspend(&before_deploy);
        let gain = ledger.gain_until(&point(201, &[("a.rs:5", 300)]));
        assert_eq!((gain.requests, gain.bytes), (100, 10_000), "first calls");
        ledger.resume(point(203, &[("a.rs:5", 300)]));
        let gain = ledger.gain_until(&point(303, &[("a.rs:1", 9000), ("a.rs:5", 1300)]));
        assert_eq!((gain.requests, gain.bytes), (200, 20_000));
        let lines: Vec<_> = gain.lines().into_iter().map(|line| line.location).collect();
        assert_eq!(lines, ["a.rs:1"], "a.rs:5 has a twentieth, a.rs:9 nothing");
    }

    #[test]
    fn nothing_is_left_behind_without_requests_or_by_a_heap_that_shrinks() {
        let ledger = LeakLedger::begin(point(100, &[("a.rs:1", 5000)]));
        let gain = ledger.gain_until(&point(100, &[("a.rs:1", 5000)]));
        assert_eq!(gain.bytes_per_request(), 0.0);
        let gain = ledger.gain_until(&point(150, &[]));
        assert_eq!(gain.bytes_per_request(), 0.0);
        assert!(gain.lines().is_empty());
    }
}
