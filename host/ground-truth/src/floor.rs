//! The floor of a heap that falls by itself, as the host reports it.
//!
//! The host keeps a sample per second over 15 minutes, and its forecast computes the floor of these
//! samples. Here it is computed by the same code, `guest_heap::verdict::Collections`, from the same
//! samples. Samples without a call count for nothing there, so none are kept here.

use std::collections::VecDeque;

use guest_heap::verdict::{Collections, Sample};
use plugin_host::driver::published_state::PluginReading;

/// How long the host keeps its samples, in seconds.
const WINDOW_SECONDS: u64 = 900;

/// The samples of one instance of a plugin.
#[derive(Debug, Default)]
pub(crate) struct FloorWindow {
    samples: VecDeque<Sample<u64>>,
    /// How many of the samples have fewer live bytes than the one before.
    falls: usize,
}

impl FloorWindow {
    /// Adds the sample of a second. A sample without a call since the one before is left out.
    pub(crate) fn record(&mut self, second: u64, reading: &PluginReading) {
        let live_bytes = reading.heap_live.unwrap_or_default();
        let last = self.samples.back();
        if last.is_some_and(|last| last.calls >= reading.requests) {
            return;
        }
        self.falls += usize::from(last.is_some_and(|last| live_bytes < last.live_bytes));
        self.samples.push_back(Sample {
            at: second,
            calls: reading.requests,
            live_bytes,
            linear_bytes: reading.linear.bytes,
            unseen_bytes: reading.coverage.heap_unseen_bytes,
        });
        let is_old = |sample: &Sample<u64>| sample.at + WINDOW_SECONDS < second;
        while self.samples.front().is_some_and(is_old) {
            let dropped = self.samples.pop_front();
            let (dropped, first) = (dropped.as_ref(), self.samples.front());
            let fell = dropped
                .zip(first)
                .is_some_and(|(a, b)| b.live_bytes < a.live_bytes);
            self.falls -= usize::from(fell);
        }
    }

    /// Forgets everything: memory was freed on purpose.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The part of `live_bytes` that collections leave.
    pub(crate) fn floor_bytes(&self, live_bytes: u64) -> u64 {
        if self.falls == 0 {
            return live_bytes;
        }
        let collections = Collections::of(self.samples.iter().copied());
        collections.map_or(live_bytes, |heap| heap.floor_bytes().min(live_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(live: impl IntoIterator<Item = u64>) -> FloorWindow {
        let mut window = FloorWindow::default();
        for (second, live) in (0_u64..).zip(live) {
            let mut reading = PluginReading::default();
            reading.heap_live = Some(live);
            reading.requests = second + 1;
            window.record(second, &reading);
        }
        window
    }

    #[test]
    fn the_floor_of_a_sawtooth_is_what_its_falls_leave() {
        let tooth = |second: u64| 1_000_000 + (second % 50) * 20_000;
        assert_eq!(
            window((0..230).map(tooth)).floor_bytes(1_580_000),
            1_000_000
        );
    }

    #[test]
    fn without_falls_everything_live_is_the_floor() {
        assert_eq!(
            window((0..100).map(|s| s * 1000)).floor_bytes(99_000),
            99_000
        );
        assert_eq!(FloorWindow::default().floor_bytes(7), 7);
    }

    #[test]
    fn falls_are_forgotten_with_their_samples() {
        let mut window = window([900_000, 1_000]);
        assert_eq!(window.falls, 1);
        let mut reading = PluginReading::default();
        reading.requests = 3;
        window.record(2 * WINDOW_SECONDS, &reading);
        assert_eq!((window.falls, window.samples.len()), (0, 1));
        window.clear();
        assert!(window.samples.is_empty());
    }
}
