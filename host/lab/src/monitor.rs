//! Looks at the process and at every plugin once a second and keeps what it saw for fifteen minutes.
//!
//! Growth, forecast and ledger come from these samples alone, so reading them, however often, changes nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::growth::{GROWTH_WINDOW, Growth, GrowthPoint};
use crate::heap::Heaps;
use crate::heap::baselines::Marks;
use crate::ledger::{Ledger, LedgerReading, Part};
use crate::samples::{HISTORY_SAMPLES, SAMPLE_INTERVAL, Sample, SampleRing};
use plugin_host::driver::handle::Plugin;
use plugin_host::registry::{Registry, still_loaded};
use plugin_host::timestamp::Timestamp;
use process_memory::allocator;
use process_memory::cached_reading::CachedReading;
use process_memory::limit::MemoryBudget;
use process_memory::process::{ProcessReader, ProcessReading};
use process_memory::wasm_memories::{GrantedSizes, WasmBytes, WasmMemories};
use telemetry::QueueUsage;

/// Samples until what a start leaves behind has been given back, and what is always needed is resident.
const SETTLING: u64 = 2;

/// Samples in the window that growth is taken over, both ends included.
const SAMPLES_OF_WINDOW: usize = (GROWTH_WINDOW.as_secs() / SAMPLE_INTERVAL.as_secs()) as usize + 1;

/// What is kept of one look at the process.
#[derive(Debug, Clone, Copy)]
struct ProcessSample {
    resident_bytes: u64,
    requests: u64,
    /// The ledger, part by part.
    parts: [i64; Part::ALL.len()],
}

/// What is kept of one look at a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PluginSample {
    life: u64,
    generation: u64,
    linear_bytes: u64,
    retained_bytes: u64,
    retained_objects: u64,
    heap_live_bytes: u64,
    requests: u64,
}

#[derive(Debug)]
struct History {
    process: SampleRing<ProcessSample>,
    plugins: BTreeMap<String, SampleRing<PluginSample>>,
    /// Samples taken so far.
    taken: u64,
    /// Which instances there were at the last one.
    instances: u64,
    /// The last sample at which memory came or went on purpose.
    unsettled: Option<Instant>,
}

impl History {
    /// Notes whether memory has come or gone on purpose since the last sample: plugins were loaded or unloaded, or
    /// instances replaced by fresh ones. The growth of the process is counted from the sample after that.
    fn settle(&mut self, at: Instant, plugins: &[Arc<Plugin>]) {
        let mut instances = DefaultHasher::new();
        for plugin in plugins {
            (plugin.life(), plugin.reading().generation).hash(&mut instances);
        }
        let instances = instances.finish();
        if self.taken < SETTLING || instances != self.instances {
            self.unsettled = Some(at);
        }
        self.instances = instances;
        self.taken += 1;
    }

    /// The samples of a plugin; none of one that had its id before.
    fn of(&self, plugin: &Plugin) -> Option<&SampleRing<PluginSample>> {
        let ring = self.plugins.get(plugin.id())?;
        (ring.latest()?.value.life == plugin.life()).then_some(ring)
    }
}

/// The samples of the growth window, one a second: those between two equal ones are not kept, and are equal too.
fn each_second<T: Copy + PartialEq>(ring: &SampleRing<T>) -> impl Iterator<Item = Sample<T>> {
    let newest = ring.latest().map(|s| s.at.instant);
    let mut previous: Option<Sample<T>> = None;
    let filled = ring.iter().flat_map(move |sample| {
        let before = previous
            .replace(*sample)
            .filter(|p| p.value == sample.value);
        let gap = before.map_or(0.0, |p| {
            (sample.at.instant - p.at.instant).as_secs_f64() / SAMPLE_INTERVAL.as_secs_f64()
        });
        let between = 1..gap.round() as u32;
        let sample = *sample;
        let filling = between.rev().filter_map(move |back| {
            let ago = SAMPLE_INTERVAL * back;
            Some(Sample {
                at: Timestamp {
                    instant: sample.at.instant.checked_sub(ago)?,
                    unix_seconds: sample.at.unix_seconds - ago.as_secs_f64(),
                },
                value: sample.value,
            })
        });
        filling.chain(std::iter::once(sample))
    });
    filled.filter(move |s| newest.is_some_and(|n| n - s.at.instant <= GROWTH_WINDOW))
}

/// Growth and when it meets the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// The regression.
    pub growth: Growth,
    /// Seconds until the limit at this growth.
    pub seconds_to_limit: Option<f64>,
}

/// The sampler's memory, and the readings that need no history.
pub struct Monitor {
    reader: ProcessReader,
    budget: MemoryBudget,
    /// Resident bytes once the host had settled.
    start_resident_bytes: AtomicU64,
    memories: WasmMemories,
    /// What the host's allocator has handed out.
    in_use_bytes: CachedReading<u64>,
    history: Mutex<History>,
    /// What waits for the collector.
    queue: OnceLock<Arc<QueueUsage>>,
    /// How many samples have been taken.
    ticks: watch::Sender<u64>,
}

/// One look at the process, some time ago.
#[derive(Debug, Clone, Copy)]
pub struct ProcessPoint {
    /// Seconds ago.
    pub age: f64,
    /// Resident bytes.
    pub resident_bytes: u64,
    /// The ledger in the order of [`Part::ALL`]: it adds up to the resident bytes.
    pub parts: [i64; Part::ALL.len()],
}

/// One look at a plugin, some time ago.
#[derive(Debug, Clone, Copy)]
pub struct PluginPoint {
    /// Seconds ago.
    pub age: f64,
    /// Bytes of linear memory.
    pub linear_bytes: u64,
    /// Bytes that the pattern holds.
    pub retained_bytes: u64,
    /// Bytes that the guest's allocator has handed out; 0 without attribution.
    pub heap_live_bytes: u64,
}

impl Monitor {
    /// A monitor without samples yet.
    ///
    /// # Errors
    ///
    /// When the system does not tell a process its memory.
    pub fn new(budget: MemoryBudget) -> io::Result<Self> {
        let reader = ProcessReader::new()?;
        let start_resident_bytes = reader.resident_bytes()?;
        let history = History {
            process: SampleRing::new(HISTORY_SAMPLES),
            plugins: BTreeMap::new(),
            taken: 0,
            instances: 0,
            unsettled: None,
        };
        Ok(Monitor {
            reader,
            budget,
            start_resident_bytes: AtomicU64::new(start_resident_bytes),
            memories: WasmMemories::default(),
            in_use_bytes: CachedReading::default(),
            history: Mutex::new(history),
            queue: OnceLock::new(),
            ticks: watch::Sender::new(0),
        })
    }

    /// Tells after each sample how many there have been.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// What was seen of the process in the last `window`, oldest first.
    pub fn process_track(&self, window: Duration) -> Vec<ProcessPoint> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let point = |s: &Sample<ProcessSample>| ProcessPoint {
            age: now.saturating_duration_since(s.at.instant).as_secs_f64(),
            resident_bytes: s.value.resident_bytes,
            parts: s.value.parts,
        };
        history.process.window(window).map(point).collect()
    }

    /// What was seen of a plugin in the last `window`, oldest first; the first is what was there when it began.
    pub fn plugin_track(&self, plugin: &str, window: Duration) -> Vec<PluginPoint> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let point = |s: &Sample<PluginSample>| PluginPoint {
            age: now.saturating_duration_since(s.at.instant).as_secs_f64(),
            linear_bytes: s.value.linear_bytes,
            retained_bytes: s.value.retained_bytes,
            heap_live_bytes: s.value.heap_live_bytes,
        };
        let Some(ring) = history.plugins.get(plugin) else {
            return Vec::new();
        };
        // What has not changed for longer has its only sample in the window at the window's end.
        let edge = window.as_secs_f64();
        let before = ring.before(now, window).map(point);
        let before = before.filter(|p| p.age >= edge);
        let before = before.map(|p| PluginPoint { age: edge, ..p });
        let within = ring.window(window).map(point).filter(|p| p.age < edge);
        before.into_iter().chain(within).collect()
    }

    /// From now on the ledger has a line for what waits for the collector.
    pub fn watch_queue(&self, queue: Arc<QueueUsage>) {
        // The host has one queue, and says so once.
        let _ = self.queue.set(queue);
    }

    /// The limit that applies, and the machine's memory.
    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// The process as the kernel sees it now.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn process(&self) -> io::Result<ProcessReading> {
        self.reader.read()
    }

    /// Resident bytes now.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        self.reader.resident_bytes()
    }

    /// Resident bytes when the host had just started, its plugins loaded.
    pub fn start_resident_bytes(&self) -> u64 {
        self.start_resident_bytes.load(Ordering::Relaxed)
    }

    /// The process over the last fifteen minutes, oldest first: seconds since 1970-01-01T00:00:00Z, resident
    /// bytes, and requests served until then. At most `most` of them, evenly spread, the newest included.
    pub fn process_samples(&self, most: usize) -> Vec<(f64, u64, u64)> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let step = history.process.len().div_ceil(most.max(1)).max(1);
        let mut samples: Vec<_> = history
            .process
            .iter()
            .rev()
            .step_by(step)
            .map(|s| (s.at.unix_seconds, s.value.resident_bytes, s.value.requests))
            .collect();
        samples.reverse();
        samples
    }

    /// Growth of the process, since memory last came or went on purpose.
    pub fn process_forecast(&self) -> Forecast {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let points = history.process.window(GROWTH_WINDOW).map(|s| GrowthPoint {
            at: s.at,
            bytes: s.value.resident_bytes,
            requests: s.value.requests,
        });
        let after = |unsettled| unsettled + Duration::from_nanos(1);
        let growth = Growth::over(points, GROWTH_WINDOW, history.unsettled.map(after));
        Forecast {
            growth,
            seconds_to_limit: growth.seconds_to_limit(self.budget.limit.map(|l| l.bytes)),
        }
    }

    /// Growth of one plugin's retained bytes, and when its linear memory meets its limit. A fresh instance
    /// starts a fresh window.
    pub fn plugin_forecast(&self, plugin: &Plugin, limit: u64) -> Option<Forecast> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = history.of(plugin)?;
        if let Some(sample) = ring.unchanged(GROWTH_WINDOW) {
            // What most plugins do most of the time.
            let samples = SAMPLES_OF_WINDOW;
            return Some(Forecast {
                growth: Growth::flat(sample.retained_bytes, GROWTH_WINDOW, samples),
                seconds_to_limit: None,
            });
        }
        let generation = ring.latest()?.value.generation;
        let of_instance = || each_second(ring).filter(move |s| s.value.generation == generation);
        let retained = of_instance().map(|s| GrowthPoint {
            at: s.at,
            bytes: s.value.retained_bytes,
            requests: s.value.requests,
        });
        let linear = of_instance().map(|s| GrowthPoint {
            at: s.at,
            bytes: s.value.linear_bytes,
            requests: s.value.requests,
        });
        Some(Forecast {
            growth: Growth::over(retained, GROWTH_WINDOW, None),
            seconds_to_limit: Growth::over(linear, GROWTH_WINDOW, None)
                .seconds_to_limit(Some(limit)),
        })
    }

    /// A plugin's numbers and the service's requests some time ago, or when the samples begin.
    pub fn marks_before(&self, plugin: &Plugin, ago: Duration) -> Option<Marks> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = history.of(plugin)?;
        let sample = ring
            .before(Instant::now(), ago)
            .or_else(|| ring.iter().next())?;
        Some(Marks {
            linear_bytes: sample.value.linear_bytes,
            heap_live_bytes: sample.value.heap_live_bytes,
            retained_objects: sample.value.retained_objects,
            life: sample.value.life,
            generation: sample.value.generation,
            requests: sample.value.requests,
        })
    }

    /// Requests that the service had served some time ago, or when the samples begin.
    pub fn requests_before(&self, ago: Duration) -> u64 {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = &history.process;
        let sample = ring
            .before(Instant::now(), ago)
            .or_else(|| ring.iter().next());
        sample.map_or(0, |s| s.value.requests)
    }

    /// Where the resident bytes are.
    pub fn ledger(&self, process: &ProcessReading, registry: &Registry, heaps: &Heaps) -> Ledger {
        let (symbols, histories) = heaps.memory_bytes();
        let (mut granted, mut all) = (GrantedSizes::default(), WasmBytes::default());
        for reading in registry.plugins().iter().map(|p| p.reading()) {
            granted.add(reading.linear.bytes, reading.profiler_bytes);
            all.linear += reading.linear.bytes;
            all.profiler += reading.profiler_bytes;
        }
        let resident = self.memories.resident(&granted).unwrap_or(all);
        Ledger::balance(&LedgerReading {
            resident_bytes: process.resident_bytes,
            resident_file_bytes: process.resident_file_bytes,
            allocator_in_use_bytes: self
                .in_use_bytes
                .with(allocator::in_use_bytes, |bytes| *bytes),
            thread_stack_bytes: None,
            plugins_linear_bytes: resident.linear.min(all.linear),
            profiler_bytes: resident.profiler.min(all.profiler),
            heap_tenants: vec![
                (Part::Symbols, symbols),
                (Part::History, self.bytes() + histories),
                (
                    Part::TelemetryQueue,
                    self.queue.get().map_or(0, |q| q.bytes()),
                ),
            ],
        })
    }

    /// Bytes that the kept samples take.
    fn bytes(&self) -> u64 {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let process = history.process.len() * size_of::<(Timestamp, ProcessSample)>();
        let plugins: usize = history
            .plugins
            .values()
            .map(|r| r.len() * size_of::<(Timestamp, PluginSample)>())
            .sum();
        (process + plugins) as u64
    }

    fn sample(&self, registry: &Registry, heaps: &Heaps, requests: u64) {
        let at = Timestamp::now();
        let plugins = registry.plugins();
        // Before the lock: the ledger takes it too.
        let ledger = self.process().map(|p| self.ledger(&p, registry, heaps));
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.taken < SETTLING
            && let Ok(ledger) = &ledger
        {
            self.start_resident_bytes
                .store(ledger.resident_bytes(), Ordering::Relaxed);
        }
        history.settle(at.instant, &plugins);
        if let Ok(ledger) = ledger {
            let sample = ProcessSample {
                resident_bytes: ledger.resident_bytes(),
                requests,
                parts: ledger.bytes(),
            };
            history.process.push(at, sample);
        }
        let mut loaded = still_loaded(&plugins);
        history.plugins.retain(|id, _| loaded(id));
        for plugin in plugins.iter() {
            let reading = plugin.reading();
            let sample = PluginSample {
                life: plugin.life(),
                generation: reading.generation,
                linear_bytes: reading.linear.bytes,
                retained_bytes: reading.retained.bytes,
                retained_objects: reading.retained.objects,
                heap_live_bytes: reading.heap_live.unwrap_or(0),
                requests: reading.requests,
            };
            let ring = history.plugins.get_mut(plugin.id());
            let same = |r: &SampleRing<PluginSample>| {
                r.latest().is_some_and(|s| s.value.life == plugin.life())
            };
            match ring.filter(|r| same(r)) {
                Some(ring) => ring.push_change(at, sample),
                None => {
                    let mut ring = SampleRing::new(HISTORY_SAMPLES);
                    ring.push_change(at, sample);
                    history.plugins.insert(plugin.id().to_owned(), ring);
                }
            }
        }
    }

    /// Samples until the task is dropped. `requests` tells how many requests have been served.
    pub async fn run(
        self: Arc<Self>,
        registry: Arc<Registry>,
        heaps: Arc<Heaps>,
        requests: impl Fn() -> u64,
    ) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.sample(&registry, &heaps, requests());
            self.ticks.send_modify(|ticks| *ticks += 1);
            heaps.sample(&registry).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_of_every_second_whether_it_was_kept_or_not() {
        let start = Instant::now();
        let at = |second: u64| Timestamp {
            instant: start + Duration::from_secs(second),
            unix_seconds: second as f64,
        };
        // Flat for a minute, then growing: kept as it is, and with what stays left out.
        let value = |second: u64| second.max(60);
        let (mut all, mut changes) = (SampleRing::new(900), SampleRing::new(900));
        for second in 0..100 {
            all.push(at(second), value(second));
            changes.push_change(at(second), value(second));
        }
        assert!(changes.len() < 45, "{}", changes.len());
        let expected: Vec<_> = all.window(GROWTH_WINDOW).copied().collect();
        assert_eq!(each_second(&changes).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn growth_of_what_stays_is_what_the_samples_give() {
        let start = Instant::now();
        let at = |second: u64| Timestamp {
            instant: start + Duration::from_secs(second),
            unix_seconds: second as f64,
        };
        let mut ring = SampleRing::new(900);
        for second in 0..100 {
            ring.push_change(at(second), second);
        }
        assert!(ring.unchanged(GROWTH_WINDOW).is_none());
        for second in 100..161 {
            ring.push_change(at(second), 7);
        }
        let points = each_second(&ring).map(|s| GrowthPoint {
            at: s.at,
            bytes: s.value,
            requests: 3,
        });
        let computed = Growth::over(points, GROWTH_WINDOW, None);
        let stays = ring.unchanged(GROWTH_WINDOW).copied().unwrap();
        assert_eq!(
            Growth::flat(stays, GROWTH_WINDOW, SAMPLES_OF_WINDOW),
            computed
        );
        assert_eq!(computed.seconds_to_limit(Some(1000)), None);
    }
}
