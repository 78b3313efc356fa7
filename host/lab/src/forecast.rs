//! Growth of the process and of plugins, and the time until each reaches its limit.
//!
//! A plugin whose memory falls by itself has a collector, or frees in batches. The slope of a
//! minute is then garbage. So its growth is that of the floor, which is what its collections leave,
//! and it is unknown before the second collection.

use std::time::Instant;

use crate::growth::{GROWTH_WINDOW, Growth, GrowthPoint, TREND_WINDOWS};
use crate::ledger::LedgerPart;
use crate::memory_change::last_memory_change;
use crate::one_time_growth::{ProcessMemory, without_one_time_growth};
use crate::sample_history::{HistoryState, PluginSample, ProcessSample, SampleHistory};
use crate::samples::{SAMPLE_INTERVAL, Sample, SampleRing};
use crate::steps::{SteppedGrowth, StepsEnd};
use guest_heap::verdict::{self, Collections};
use plugin_host::driver::handle::Plugin;

/// Samples in a full growth window, both ends included.
const WINDOW_SAMPLES: usize = (GROWTH_WINDOW.as_secs() / SAMPLE_INTERVAL.as_secs()) as usize + 1;

/// Growth of the host without its plugins that is worth a forecast, in bytes per second.
const MIN_HOST_GROWTH: f64 = 4096.0;

/// The host goes on growing if a window has more than this share of the growth of the window
/// before.
const MIN_HOST_TREND: f64 = 0.7;

/// The process follows the steps of a plugin if they are at least this large.
const MIN_PIECE_BYTES: u64 = 1 << 20;

/// Growth, and the time until the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Forecast {
    /// The regression over the last minute.
    pub growth: Growth,
    /// Seconds until the limit if the growth continues: 0 at the limit. `None` without a limit or
    /// without significant growth.
    pub seconds_to_limit: Option<f64>,
    /// The next step, if memory grows in steps.
    pub next_step: Option<NextStep>,
    /// For a plugin whose live bytes fall by themselves: the part that collections leave.
    pub floor_bytes: Option<u64>,
}

/// The next step of memory that grows in steps, such as a buffer that doubles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NextStep {
    /// Bytes that it asks for in one piece.
    pub piece_bytes: u64,
    /// Requests until then.
    pub requests_left: f64,
    /// Seconds until then at the present request rate; `None` without requests.
    pub seconds_left: Option<f64>,
    /// Whether it does not fit into the limit.
    pub is_refused: bool,
}

impl NextStep {
    fn of(steps: &SteppedGrowth, end: Option<StepsEnd>, rate: f64) -> Self {
        NextStep {
            piece_bytes: steps.piece_bytes,
            requests_left: steps.requests_left,
            seconds_left: (rate > 0.0).then(|| steps.requests_left / rate),
            is_refused: end.is_some_and(|end| end.is_next),
        }
    }
}

impl Forecast {
    /// Growth of the process's resident bytes, since plugins, instances or switches changed last.
    ///
    /// Memory that comes with the start of the host, or with its first traffic, is not growth. So
    /// the host counts only if its growth goes on: for two minutes, or for half a minute while a
    /// plugin grows.
    pub(crate) fn of_process(history: &SampleHistory, limit_bytes: Option<u64>) -> Self {
        let state = history.lock();
        let restarted_at = state.restarted_at();
        let steps = state.steps.largest();
        let steps = steps.filter(|steps| steps.piece_bytes >= MIN_PIECE_BYTES);
        // A step is no slope.
        let since = restarted_at.max(steps.map(|steps| steps.last_step));
        let is_of_guests = steps.is_some() || state.has_growing_plugin(restarted_at);
        let growth = if is_of_guests {
            // What the host gains once, while a plugin grows, is no growth.
            let points = without_one_time_growth(&process_memory(&state));
            Growth::over(points, GROWTH_WINDOW, since)
        } else {
            Growth::over(process_points(&state), GROWTH_WINDOW, since)
        };
        let is_growth = is_of_guests || host_growth(process_points(&state), restarted_at).is_some();
        let growth = if is_growth {
            growth.without_noise()
        } else {
            growth.as_noise()
        };
        match steps {
            Some(steps) => Self::of_process_in_steps(growth, &steps, limit_bytes),
            None => Forecast {
                growth,
                seconds_to_limit: growth.seconds_to_limit(limit_bytes),
                next_step: None,
                floor_bytes: None,
            },
        }
    }

    /// `growth` is that since the last step.
    fn of_process_in_steps(
        growth: Growth,
        steps: &SteppedGrowth,
        limit_bytes: Option<u64>,
    ) -> Self {
        let measured = growth.bytes_per_request.filter(|_| growth.is_significant());
        let per_request = measured.unwrap_or_default().max(steps.bytes_per_request);
        let growth = growth.at_bytes_per_request(per_request);
        let room = growth.room(limit_bytes);
        let end = room.and_then(|room| steps.end_of_resident_memory(room, per_request));
        Forecast {
            growth,
            seconds_to_limit: seconds_to_end(room, end, growth.requests_per_second),
            next_step: Some(NextStep::of(steps, end, growth.requests_per_second)),
            floor_bytes: None,
        }
    }

    /// Growth of the process in bytes per second while no plugin grows; zero if it does not go on.
    pub(crate) fn host_growth(history: &SampleHistory) -> f64 {
        let state = history.lock();
        let restarted_at = state.restarted_at();
        if state.has_growing_plugin(restarted_at) {
            return 0.0;
        }
        host_growth(process_points(&state), restarted_at).unwrap_or_default()
    }

    /// Growth of a plugin's retained bytes, and the time until its linear memory reaches
    /// `limit_bytes`. A fresh instance starts a fresh window. `None` before the first sample.
    pub(crate) fn of_plugin(
        history: &SampleHistory,
        plugin: &Plugin,
        limit_bytes: u64,
    ) -> Option<Self> {
        let state = history.lock();
        let ring = state.of_plugin(plugin)?;
        let since = last_memory_change(&plugin.journal().events());
        let forecast = Self::of_samples(ring, since, limit_bytes)?;
        let room = limit_bytes.saturating_sub(ring.latest()?.value.linear_bytes);
        Some(match state.steps.of(plugin.id()) {
            Some(steps) => forecast.in_steps(&steps, room),
            None => forecast,
        })
    }

    /// The same for a plugin whose memory grows in steps. Linear memory can grow by `room` bytes.
    fn in_steps(self, steps: &SteppedGrowth, room: u64) -> Self {
        let rate = self.growth.requests_per_second;
        let end = steps.end_of_linear_memory(room);
        Forecast {
            growth: self.growth.at_bytes_per_request(steps.bytes_per_request),
            seconds_to_limit: seconds_to_end(Some(room), end, rate),
            next_step: Some(NextStep::of(steps, end, rate)),
            floor_bytes: self.floor_bytes,
        }
    }

    /// Memory that fell before `since` was freed on purpose, not by a collector.
    fn of_samples(
        ring: &SampleRing<PluginSample>,
        since: Option<Instant>,
        limit_bytes: u64,
    ) -> Option<Self> {
        let latest = ring.latest()?.value;
        let of_instance = |s: &Sample<PluginSample>| s.value.generation == latest.generation;
        let collections = |bytes: fn(&PluginSample) -> u64| {
            let counts = |s: &&Sample<PluginSample>| {
                of_instance(s) && since.is_none_or(|since| s.at.instant >= since)
            };
            let sample = |s: &Sample<PluginSample>| verdict::Sample {
                at: s.at.instant,
                calls: s.value.requests,
                live_bytes: bytes(&s.value),
                linear_bytes: s.value.linear_bytes,
                unseen_bytes: s.value.unseen_bytes,
            };
            Collections::of(ring.iter().filter(counts).map(sample))
        };
        let heap = collections(|s| s.heap_live_bytes);
        let floor_bytes = heap.as_ref().map(Collections::floor_bytes);
        if let Some(sample) = ring.unchanged_for(GROWTH_WINDOW) {
            // Most plugins are idle most of the time.
            return Some(Forecast {
                growth: Growth::flat(sample.retained_bytes, GROWTH_WINDOW, WINDOW_SAMPLES),
                seconds_to_limit: None,
                next_step: None,
                floor_bytes,
            });
        }
        let growth = |bytes: fn(&PluginSample) -> u64| {
            let points = ring.each_second(TREND_WINDOWS * GROWTH_WINDOW);
            let points = points.filter(of_instance);
            let points = points.map(|s| GrowthPoint {
                at: s.at,
                bytes: bytes(&s.value),
                requests: s.value.requests,
            });
            Growth::over(points, GROWTH_WINDOW, None)
        };
        let retained = growth(|s| s.retained_bytes);
        let linear = growth(|s| s.linear_bytes);
        let linear = match heap {
            Some(heap) => of_floor(linear, peak_growth(&heap)),
            None => linear,
        };
        Some(Forecast {
            growth: match collections(|s| s.retained_bytes) {
                Some(retained_by) => of_floor(retained, retained_by.floor_bytes_per_call()),
                None => retained,
            },
            seconds_to_limit: linear.seconds_to_limit(Some(limit_bytes)),
            next_step: None,
            floor_bytes,
        })
    }
}

/// Growth by this many bytes per request, if it is known and positive.
fn of_floor(growth: Growth, bytes_per_request: Option<f64>) -> Growth {
    match bytes_per_request {
        Some(bytes) if bytes > 0.0 => growth.at_bytes_per_request(bytes),
        _ => growth.as_noise(),
    }
}

/// Growth per request of the linear memory that a collected heap needs. Its peaks rise as its floor
/// does. Linear memory that grows over a flat floor is held by the allocator.
fn peak_growth(heap: &Collections) -> Option<f64> {
    let linear = heap.linear_bytes_per_call()?;
    Some(linear.max(heap.floor_bytes_per_call()?))
}

/// Seconds until the end of growth in steps; 0 without room.
fn seconds_to_end(room: Option<u64>, end: Option<StepsEnd>, rate: f64) -> Option<f64> {
    match room? {
        0 => Some(0.0),
        _ => end.filter(|_| rate > 0.0).map(|end| end.requests / rate),
    }
}

/// The process over two windows.
fn process_points(state: &HistoryState) -> impl Iterator<Item = GrowthPoint> {
    let samples = state.process.window(TREND_WINDOWS * GROWTH_WINDOW);
    samples.map(process_point)
}

fn process_point(sample: &Sample<ProcessSample>) -> GrowthPoint {
    GrowthPoint {
        at: sample.at,
        bytes: sample.value.resident_bytes,
        requests: sample.value.requests,
    }
}

/// The same with the plugins' part.
fn process_memory(state: &HistoryState) -> Vec<ProcessMemory> {
    let samples = state.process.window(TREND_WINDOWS * GROWTH_WINDOW);
    let samples = samples.map(|sample| ProcessMemory {
        point: process_point(sample),
        guest_bytes: linear_bytes(&sample.value),
    });
    samples.collect()
}

/// The plugins' linear memory.
fn linear_bytes(sample: &ProcessSample) -> u64 {
    let mut parts = LedgerPart::ALL.iter().zip(sample.parts);
    let linear = parts.find(|(part, _)| **part == LedgerPart::PluginsLinear);
    linear.map_or(0, |(_, bytes)| bytes)
}

/// Growth of a process whose plugins do not grow, in bytes per second. It has to go on for two
/// windows without becoming much slower.
fn host_growth(
    points: impl Iterator<Item = GrowthPoint>,
    restarted_at: Option<Instant>,
) -> Option<f64> {
    let points: Vec<GrowthPoint> = points.collect();
    let middle = points.last()?.at.instant.checked_sub(GROWTH_WINDOW)?;
    let half = points.partition_point(|point| point.at.instant < middle);
    let (before, now) = points.split_at_checked(half)?;
    let growth = |points: &[GrowthPoint]| {
        Growth::over(points.iter().copied(), GROWTH_WINDOW, restarted_at).without_noise()
    };
    let (before, now) = (growth(before), growth(now));
    let is_full = before.samples + 2 >= WINDOW_SAMPLES && now.samples + 2 >= WINDOW_SAMPLES;
    let goes_on = now.bytes_per_second >= MIN_HOST_GROWTH
        && now.bytes_per_second > before.bytes_per_second * MIN_HOST_TREND
        && before.bytes_per_second > 0.0;
    (is_full && goes_on).then_some(now.bytes_per_second)
}

#[cfg(test)]
mod tests;
