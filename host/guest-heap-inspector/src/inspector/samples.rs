//! Totals of a guest at each reading of the last 15 minutes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use guest_heap::history::WINDOW;
use guest_heap::snapshot::{GroupBy, Snapshot};
use guest_heap::verdict::{FloorSeries, HandleGrowth, Sample, WINDOWS};

use super::GuestHeap;

/// Samples that are kept: about one a second for 15 minutes.
const MAX_SAMPLES: usize = 1802;

/// Lines and types of handles that are kept for a verdict.
const MAX_HANDLE_LINES: usize = 256;

/// Time between two samples of handles.
const HANDLES_INTERVAL: Duration = Duration::from_secs(5);

/// The samples, oldest first.
#[derive(Debug, Default)]
pub(super) struct Samples {
    totals: VecDeque<Sample<Duration>>,
    /// Bytes of linear memory at each reading that knows them.
    linear: VecDeque<(Duration, u64)>,
    /// Whether the latest reading knows how much memory the guest takes.
    is_measured: bool,
    /// Handles by line and type, less often.
    handles: VecDeque<(Duration, HandleCounts)>,
}

type HandleCounts = HashMap<(Arc<str>, Arc<str>), u64>;

impl Samples {
    /// Adds a reading. One without calls is no evidence for a verdict.
    pub(super) fn push(&mut self, heap: &GuestHeap) {
        let (at, snapshot) = (heap.read_at, &heap.snapshot);
        if let Some(bytes) = heap.linear_memory {
            self.linear.push_back((at, bytes));
            thin_out(&mut self.linear, |(at, _)| *at);
        }
        let unseen = heap.unseen_bytes();
        self.is_measured = unseen.is_some();
        let Some(calls) = heap.calls else {
            return;
        };
        self.push_totals(Sample {
            at,
            calls,
            live_bytes: snapshot.totals().live_bytes,
            linear_bytes: heap.linear_memory.unwrap_or_default(),
            unseen_bytes: unseen.unwrap_or_default(),
        });
        let is_due = |(last, _): &(Duration, _)| at.saturating_sub(*last) >= HANDLES_INTERVAL;
        if self.handles.back().is_none_or(is_due) {
            self.handles.push_back((at, handles(snapshot)));
        }
        let is_old = |(second, _): &(Duration, _)| at.saturating_sub(*second) > WINDOW;
        while self.handles.get(1).is_some_and(is_old) {
            self.handles.pop_front();
        }
    }

    fn push_totals(&mut self, sample: Sample<Duration>) {
        self.totals.push_back(sample);
        thin_out(&mut self.totals, |sample| sample.at);
    }

    /// Whether the samples say how much memory the guest takes.
    pub(super) fn are_measured(&self) -> bool {
        self.is_measured
    }

    /// The change of linear memory between two times, counted back from the last reading.
    pub(super) fn linear_change(&self, begin_ago: Duration, end_ago: Duration) -> Option<i64> {
        let at = |ago| latest_before(&self.linear, ago, |(at, _)| *at).map(|(_, bytes)| *bytes);
        let (then, later) = (at(begin_ago)?, at(end_ago)?);
        Some(later as i64 - then as i64)
    }

    /// The samples of the guest's instance that runs now, oldest first. A lower count of calls is
    /// that of a new instance.
    pub(super) fn of_instance(&self) -> impl Iterator<Item = Sample<Duration>> {
        let pairs = self.totals.iter().zip(self.totals.iter().skip(1));
        let mut restarts = pairs.enumerate().filter(|(_, (a, b))| b.calls < a.calls);
        let first = restarts.next_back().map_or(0, |(index, _)| index + 1);
        self.totals.iter().skip(first).copied()
    }

    /// The growth of handles over windows that begin at these times.
    pub(super) fn handle_growth(&self, starts: &[Duration]) -> HandleGrowth {
        let mut growth = HandleGrowth::default();
        let Some((_, newest)) = self.handles.back() else {
            return growth;
        };
        for key in newest.keys() {
            let mut floors = FloorSeries::empty(WINDOWS);
            for (at, counts) in &self.handles {
                if let Some(window) = starts.partition_point(|start| start <= at).checked_sub(1) {
                    floors.add(window, counts.get(key).copied().unwrap_or_default());
                }
            }
            // A window without a sample is no evidence.
            if !floors.0.contains(&u64::MAX) && floors.rises() {
                growth.lines += 1;
                growth.handles += floors.growth();
            }
        }
        growth
    }

    /// The calls between two times, counted back from the last reading. A lower count is that of a
    /// new instance, which began at 0.
    pub(super) fn calls_between(&self, begin_ago: Duration, end_ago: Duration) -> Option<u64> {
        let (then, later) = (self.before(begin_ago)?, self.before(end_ago)?);
        Some(later.checked_sub(then).unwrap_or(later))
    }

    /// The count at the latest reading that is at least `ago` before the last one, or the oldest.
    fn before(&self, ago: Duration) -> Option<u64> {
        latest_before(&self.totals, ago, |sample| sample.at).map(|sample| sample.calls)
    }
}

/// Keeps the number of samples small after one was added. Queries can make several readings in a
/// second. Only the last one is kept, so that the samples reach back as far as the history.
fn thin_out<T>(samples: &mut VecDeque<T>, at: impl Fn(&T) -> Duration) {
    let Some(newest) = samples.back().map(&at) else {
        return;
    };
    let third_newest = samples.len().checked_sub(3);
    let is_soon = |before: &T| newest.saturating_sub(at(before)) < Duration::from_secs(1);
    if let Some(third) = third_newest
        && samples.get(third).is_some_and(is_soon)
    {
        samples.remove(third + 1);
    }
    let is_old = |second: &T| newest.saturating_sub(at(second)) > WINDOW;
    while samples.len() > MAX_SAMPLES || samples.get(1).is_some_and(is_old) {
        samples.pop_front();
    }
}

/// The latest sample that is at least `ago` before the last one, or the oldest.
fn latest_before<T>(
    samples: &VecDeque<T>,
    ago: Duration,
    at: impl Fn(&T) -> Duration,
) -> Option<&T> {
    let wanted = samples.back().map(&at)?.saturating_sub(ago);
    let later = samples.partition_point(|sample| at(sample) <= wanted);
    samples.get(later.saturating_sub(1))
}

/// Live handles by line and type.
fn handles(snapshot: &Snapshot) -> HandleCounts {
    let groups = snapshot.top_handles(GroupBy::Line, MAX_HANDLE_LINES);
    let live = groups.into_iter().filter(|group| group.live > 0);
    live.map(|group| ((group.location, group.ty), group.live))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn sample(at: Duration, calls: u64) -> Sample<Duration> {
        Sample {
            at,
            calls,
            live_bytes: 0,
            linear_bytes: 0,
            unseen_bytes: 0,
        }
    }

    #[test]
    fn calls_are_counted_between_readings() {
        let mut samples = Samples::default();
        assert_eq!(samples.calls_between(WINDOW, Duration::ZERO), None);
        for (at, calls) in [(10, 5), (20, 15), (30, 40), (40, 2)] {
            samples.push_totals(sample(seconds(at), calls));
        }
        let between = |begin, end| samples.calls_between(begin, end);
        assert_eq!(between(seconds(20), seconds(10)), Some(25));
        assert_eq!(between(seconds(25), seconds(10)), Some(35));
        assert_eq!(between(WINDOW, seconds(10)), Some(35));
        assert_eq!(
            between(seconds(10), Duration::ZERO),
            Some(2),
            "a new instance"
        );
        let calls: Vec<u64> = samples.of_instance().map(|sample| sample.calls).collect();
        assert_eq!(calls, [2]);
    }

    #[test]
    fn the_samples_are_bounded_and_reach_back_as_far_as_the_history() {
        let mut samples = Samples::default();
        for tick in 0..20_000_u64 {
            samples.push_totals(sample(Duration::from_millis(250 * tick), tick));
        }
        assert!(
            samples.totals.len() <= MAX_SAMPLES,
            "{}",
            samples.totals.len()
        );
        let calls = samples.calls_between(WINDOW, Duration::ZERO);
        assert!(
            calls.is_some_and(|calls| calls.abs_diff(3600) <= 4),
            "{calls:?}"
        );
    }

    #[test]
    fn handles_grow_if_they_rise_in_every_window() {
        let key = |line: &str| (Arc::from(line), Arc::from("stream"));
        let mut samples = Samples::default();
        for at in 0..16 {
            let counts = HashMap::from([
                (key("kept"), 2 * at),
                (key("borrowed"), 5),
                (key("batch"), at % 4),
            ]);
            samples.handles.push_back((seconds(at), counts));
        }
        let starts = [0, 4, 8, 12].map(seconds);
        let growth = samples.handle_growth(&starts);
        assert_eq!((growth.lines, growth.handles), (1, 24));
        let later = samples.handle_growth(&[20, 21, 22, 23].map(seconds));
        assert_eq!(later.lines, 0, "no sample is in these windows");
    }
}
