//! Samples of the process and of every plugin over the last 15 minutes, one per second.
//!
//! Growth, forecasts and charts use these samples only. Reading has no side effects.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::growth::GROWTH_WINDOW;
use crate::ledger::LedgerPart;
use crate::samples::{MAX_SAMPLES, Sample, SampleRing};
use crate::steps::Steps;
use plugin_host::clock_reading::ClockReading;
use plugin_host::driver::handle::Plugin;
use plugin_host::registry::contains_in_order;

/// The first samples, which do not count as growth. After them, start-up memory is freed, and
/// pages that are always needed are resident.
const SETTLING_SAMPLES: u64 = 2;

/// The process at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessSample {
    pub(crate) resident_bytes: u64,
    /// Requests that the service had served.
    pub(crate) requests: u64,
    /// The ledger in bytes, in the order of [`LedgerPart::ALL`].
    pub(crate) parts: [u64; LedgerPart::ALL.len()],
}

/// A plugin at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginSample {
    /// Distinguishes this plugin from an earlier one with the same id.
    pub incarnation: u64,
    /// The instance, counted from 1 in each incarnation.
    pub generation: u64,
    /// Bytes of linear memory.
    pub linear_bytes: u64,
    /// Bytes that the leak pattern retains.
    pub retained_bytes: u64,
    /// Objects that the leak pattern retains.
    pub retained_objects: u64,
    /// Live bytes of the guest's heap; 0 without attribution.
    pub heap_live_bytes: u64,
    /// Bytes that came without an allocator that the profiler sees: all without attribution.
    pub unseen_bytes: u64,
    /// Requests that this instance was offered.
    pub requests: u64,
}

impl PluginSample {
    /// The plugin as its driver published it last.
    pub fn of(plugin: &Plugin) -> Self {
        let reading = plugin.reading();
        let coverage = reading.coverage;
        PluginSample {
            incarnation: plugin.incarnation(),
            generation: reading.generation,
            linear_bytes: reading.linear.bytes,
            retained_bytes: reading.retained.bytes,
            retained_objects: reading.retained.objects,
            heap_live_bytes: reading.heap_live.unwrap_or(0),
            unseen_bytes: match reading.heap_live {
                Some(_) => coverage.heap_unseen_bytes + coverage.other_bytes(),
                None => reading.linear.bytes,
            },
            requests: reading.requests,
        }
    }
}

/// A point of the process's charts.
#[derive(Debug, Clone, Copy)]
pub struct ProcessPoint {
    /// Age in seconds.
    pub age: f64,
    /// Resident bytes.
    pub resident_bytes: u64,
    /// The ledger in bytes, in the order of [`LedgerPart::ALL`]. It adds up to `resident_bytes`.
    pub parts: [u64; LedgerPart::ALL.len()],
}

impl ProcessPoint {
    fn new(sample: &Sample<ProcessSample>, now: Instant) -> Self {
        ProcessPoint {
            age: age(sample, now),
            resident_bytes: sample.value.resident_bytes,
            parts: sample.value.parts,
        }
    }
}

/// A point of a plugin's chart.
#[derive(Debug, Clone, Copy)]
pub struct PluginPoint {
    /// Age in seconds.
    pub age: f64,
    /// Bytes of linear memory.
    pub linear_bytes: u64,
    /// Bytes that the leak pattern retains.
    pub retained_bytes: u64,
    /// Live bytes of the guest's heap; 0 without attribution.
    pub heap_live_bytes: u64,
}

impl PluginPoint {
    fn new(sample: &Sample<PluginSample>, now: Instant) -> Self {
        PluginPoint {
            age: age(sample, now),
            linear_bytes: sample.value.linear_bytes,
            retained_bytes: sample.value.retained_bytes,
            heap_live_bytes: sample.value.heap_live_bytes,
        }
    }
}

fn age<T>(sample: &Sample<T>, now: Instant) -> f64 {
    now.saturating_duration_since(sample.at.instant)
        .as_secs_f64()
}

/// The samples of process and plugins. Bounded by 15 minutes per loaded plugin.
#[derive(Debug)]
pub struct SampleHistory(Mutex<HistoryState>);

/// What [`SampleHistory`] guards.
#[derive(Debug)]
pub(crate) struct HistoryState {
    pub(crate) process: SampleRing<ProcessSample>,
    plugins: BTreeMap<String, SampleRing<PluginSample>>,
    pub(crate) steps: Steps,
    /// Time of the last sample in which the set of instances had changed: plugins were loaded or
    /// unloaded, an instance was replaced, or a leak was switched or configured. Growth before it
    /// says nothing about the growth after it.
    pub(crate) last_instance_change: Option<Instant>,
    /// Hash of the instances at the last sample.
    instances: u64,
    samples_taken: u64,
    start_resident_bytes: u64,
    /// The ledger at the same time.
    start_parts: [u64; LedgerPart::ALL.len()],
}

impl HistoryState {
    /// The samples of a plugin, without those of an earlier plugin with the same id.
    pub(crate) fn of_plugin(&self, plugin: &Plugin) -> Option<&SampleRing<PluginSample>> {
        let ring = self.plugins.get(plugin.id())?;
        (ring.latest()?.value.incarnation == plugin.incarnation()).then_some(ring)
    }

    /// From here on growth counts. `Growth::over` includes a sample at the time that it gets, and
    /// the sample of the change itself does not count: 1 ns excludes it.
    pub(crate) fn restarted_at(&self) -> Option<Instant> {
        let change = self.last_instance_change?;
        Some(change + Duration::from_nanos(1))
    }

    /// Whether a plugin has gained memory within the growth window, since a restart.
    pub(crate) fn has_growing_plugin(&self, since: Option<Instant>) -> bool {
        self.plugins.values().any(|ring| {
            if ring.unchanged_for(GROWTH_WINDOW).is_some() {
                return false;
            }
            let mut samples = ring.each_second(GROWTH_WINDOW);
            let is_recent = |s: &Sample<PluginSample>| since.is_none_or(|at| s.at.instant >= at);
            let first = samples.find(is_recent).map(|s| s.value);
            let grown = |then: PluginSample, now: &PluginSample| {
                now.linear_bytes > then.linear_bytes || now.heap_live_bytes > then.heap_live_bytes
            };
            first
                .zip(ring.latest())
                .is_some_and(|(then, now)| grown(then, &now.value))
        })
    }

    fn record_instances(&mut self, at: Instant, plugins: &[Arc<Plugin>]) {
        let mut instances = DefaultHasher::new();
        for plugin in plugins {
            (plugin.incarnation(), plugin.reading().generation).hash(&mut instances);
            // Changed settings are another allocation.
            let settings = Arc::as_ptr(&plugin.details().settings) as usize;
            (plugin.enabled(), settings).hash(&mut instances);
        }
        let instances = instances.finish();
        if self.is_settling() || instances != self.instances {
            self.last_instance_change = Some(at);
        }
        self.instances = instances;
    }

    fn record_plugins(&mut self, at: ClockReading, plugins: &[Arc<Plugin>]) {
        let mut loaded = contains_in_order(plugins);
        self.plugins.retain(|id, _| loaded(id));
        for plugin in plugins {
            let sample = PluginSample::of(plugin);
            let ring = self.plugins.get_mut(plugin.id()).filter(|ring| {
                ring.latest()
                    .is_some_and(|latest| latest.value.incarnation == sample.incarnation)
            });
            match ring {
                Some(ring) => ring.push_change(at, sample),
                None => {
                    let mut ring = SampleRing::new(MAX_SAMPLES);
                    ring.push_change(at, sample);
                    self.plugins.insert(plugin.id().to_owned(), ring);
                }
            }
        }
    }

    /// Whether the next sample is one of the first, which do not count as growth.
    pub(crate) fn is_settling(&self) -> bool {
        self.samples_taken < SETTLING_SAMPLES
    }
}

impl SampleHistory {
    /// An empty history of a process that has this many resident bytes now.
    pub(crate) fn new(resident_bytes: u64) -> Self {
        SampleHistory(Mutex::new(HistoryState {
            process: SampleRing::new(MAX_SAMPLES),
            plugins: BTreeMap::new(),
            steps: Steps::default(),
            last_instance_change: None,
            instances: 0,
            samples_taken: 0,
            start_resident_bytes: resident_bytes,
            start_parts: [0; LedgerPart::ALL.len()],
        }))
    }

    /// Adds one sample of the process, if it could be read, and of every plugin. `plugins` are in
    /// the order of their ids.
    pub(crate) fn record(
        &self,
        at: ClockReading,
        process: Option<ProcessSample>,
        plugins: &[Arc<Plugin>],
    ) {
        let mut state = self.lock();
        if let Some(process) = process {
            // What requests leave behind is growth, even in the first seconds.
            let is_first = state.process.oldest().is_none();
            if is_first || state.is_settling() && process.requests == 0 {
                state.start_resident_bytes = process.resident_bytes;
                state.start_parts = process.parts;
            }
            state.process.push(at, process);
        }
        state.record_instances(at.instant, plugins);
        state.record_plugins(at, plugins);
        state.steps.record(at.instant, plugins);
        state.samples_taken += 1;
    }

    /// Resident bytes after the start, once the process had settled.
    pub fn start_resident_bytes(&self) -> u64 {
        self.lock().start_resident_bytes
    }

    /// The ledger in bytes after the start, in the order of [`LedgerPart::ALL`].
    pub fn start_parts(&self) -> [u64; LedgerPart::ALL.len()] {
        self.lock().start_parts
    }

    /// The process over the last `window`, oldest first.
    pub fn process_points(&self, window: Duration) -> Vec<ProcessPoint> {
        let now = Instant::now();
        let state = self.lock();
        let samples = state.process.window(window);
        samples.map(|s| ProcessPoint::new(s, now)).collect()
    }

    /// A plugin over the last `window`, oldest first. The first point is the state at the start of
    /// the window.
    pub fn plugin_points(&self, plugin_id: &str, window: Duration) -> Vec<PluginPoint> {
        let now = Instant::now();
        let state = self.lock();
        let Some(ring) = state.plugins.get(plugin_id) else {
            return Vec::new();
        };
        // A value that has not changed within the window has its first sample before the window.
        let start = window.as_secs_f64();
        let at_start = ring
            .before(now, window)
            .map(|s| PluginPoint::new(s, now))
            .filter(|point| point.age >= start)
            .map(|point| PluginPoint {
                age: start,
                ..point
            });
        let within = ring
            .window(window)
            .map(|s| PluginPoint::new(s, now))
            .filter(|point| point.age < start);
        at_start.into_iter().chain(within).collect()
    }

    /// The process over the last 15 minutes, oldest first: seconds since 1970-01-01T00:00:00Z,
    /// resident bytes, requests served until then. At most `max` samples, evenly spread, with the
    /// newest one.
    pub fn process_samples(&self, max: usize) -> Vec<(f64, u64, u64)> {
        let state = self.lock();
        let step = state.process.len().div_ceil(max.max(1)).max(1);
        let newest_first = state.process.iter().rev().step_by(step);
        let mut samples: Vec<_> = newest_first
            .map(|s| (s.at.unix_seconds, s.value.resident_bytes, s.value.requests))
            .collect();
        samples.reverse();
        samples
    }

    /// A plugin as it was `ago`, or at its first sample if that is later.
    pub fn plugin_sample_before(&self, plugin: &Plugin, ago: Duration) -> Option<PluginSample> {
        let state = self.lock();
        let ring = state.of_plugin(plugin)?;
        let sample = ring.before(Instant::now(), ago);
        sample.or_else(|| ring.oldest()).map(|s| s.value)
    }

    /// Requests that the service had served `ago`, or at the first sample if that is later.
    pub fn requests_before(&self, ago: Duration) -> u64 {
        let state = self.lock();
        let ring = &state.process;
        let sample = ring.before(Instant::now(), ago);
        let sample = sample.or_else(|| ring.oldest());
        sample.map_or(0, |s| s.value.requests)
    }

    /// Bytes of all samples.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let state = self.lock();
        let process = state.process.len() * size_of::<Sample<ProcessSample>>();
        let plugin_samples: usize = state.plugins.values().map(SampleRing::len).sum();
        (process + plugin_samples * size_of::<Sample<PluginSample>>()) as u64
    }

    /// The state, locked while the guard lives.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HistoryState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history of one sample per second. Sample `n` has 1000 + n resident bytes, and a request
    /// for each second since the first request.
    fn history_from(samples: u64, first_request: u64) -> SampleHistory {
        let start = ClockReading::now();
        let history = SampleHistory::new(1);
        for second in 0..samples {
            let at = ClockReading {
                instant: start.instant + Duration::from_secs(second),
                unix_seconds: second as f64,
            };
            let process = ProcessSample {
                resident_bytes: 1000 + second,
                requests: second.saturating_sub(first_request),
                parts: [0; LedgerPart::ALL.len()],
            };
            history.record(at, Some(process), &[]);
        }
        history
    }

    #[test]
    fn the_start_is_the_sample_after_which_the_process_has_settled() {
        for (samples, start_bytes) in [(0, 1), (1, 1000), (2, 1001), (5, 1001)] {
            let history = history_from(samples, 1);
            assert_eq!(history.start_resident_bytes(), start_bytes, "{samples}");
        }
        let early = history_from(5, 0);
        assert_eq!(early.start_resident_bytes(), 1000, "traffic at once");
    }

    #[test]
    fn process_samples_are_spread_evenly_and_end_with_the_newest() {
        let history = history_from(10, 0);
        let requests = |max| -> Vec<u64> {
            let samples = history.process_samples(max);
            samples.iter().map(|(_, _, requests)| *requests).collect()
        };
        assert_eq!(requests(100), (0..10).collect::<Vec<_>>());
        assert_eq!(requests(5), [1, 3, 5, 7, 9]);
        assert_eq!(requests(1), [9]);
        assert_eq!(history.process_samples(1), [(9.0, 1009, 9)]);
    }

    #[test]
    fn instances_that_do_not_change_leave_the_last_change_at_the_start() {
        let history = history_from(10, 0);
        let state = history.lock();
        let second = state.process.iter().nth(1).unwrap();
        assert_eq!(state.last_instance_change, Some(second.at.instant));
    }
}
