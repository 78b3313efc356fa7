//! Memory that grows in steps: above all one buffer that doubles whenever it is full.
//!
//! Between two steps nothing grows that can be measured, so the slope of a window is zero for
//! minutes and then far too steep. The steps themselves are regular: a buffer that is filled at a
//! steady rate and doubles needs twice as many requests for each step, and asks for twice as many
//! bytes in one piece. So the last steps say when the next one comes, and what it asks for. Time is
//! counted in requests, so that a pause changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use plugin_host::driver::handle::Plugin;
use plugin_host::registry::contains_in_order;

/// Smaller steps are ordinary allocations.
const MIN_STEP_BYTES: u64 = 65_536;

/// A step is at least this share of the live bytes after it.
const MIN_STEP_SHARE: u64 = 8;

/// Per request, a step rises this many times faster than the samples before and after it.
const MIN_STEEPNESS: f64 = 4.0;

/// Live bytes that fall by more than this share end the series of steps.
const MAX_FALL_SHARE: u64 = 10;

/// Steps that are kept: enough for two intervals and their ratio.
const KEPT_STEPS: usize = 3;

/// The ratio of two successive steps.
const RATIOS: std::ops::RangeInclusive<f64> = 1.15..=4.5;

/// Intervals fit the ratio of the steps if they differ from it by at most this factor.
const SAME_RATIO: f64 = 1.6;

/// A step that is late by this share of its interval does not come.
const MAX_LATENESS: f64 = 0.5;

/// A step that asks for this many times what was gained copies an old buffer into the new one.
const COPYING_SHARE: f64 = 1.5;

/// A forecast looks at no more steps than this; each is larger than the one before.
const MAX_FORECAST_STEPS: usize = 256;

/// What is read of a plugin once a second.
#[derive(Debug, Clone, Copy, Default)]
struct StepSample {
    /// Distinguishes this instance from every other one: incarnation and generation.
    instance: (u64, u64),
    /// Requests that the instance was offered.
    requests: u64,
    /// Live bytes of the guest's heap.
    live_bytes: u64,
    /// Bytes of linear memory.
    linear_bytes: u64,
}

/// One step.
#[derive(Debug, Clone, Copy)]
struct Step {
    at: Instant,
    /// Requests of the instance at the step.
    requests: f64,
    /// Live bytes that it added.
    rise: u64,
    /// Linear memory that it added.
    linear_rise: u64,
}

/// Finds the steps in the samples of one instance.
#[derive(Debug, Default)]
struct StepTracker {
    last: Option<StepSample>,
    /// Bytes per request from the sample before to the last one, unless that was a step.
    slope: f64,
    /// A rise that is a step if the next sample is flat again, with its bytes per request.
    candidate: Option<(Step, f64)>,
    steps: VecDeque<Step>,
}

/// Growth in steps, and the next step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SteppedGrowth {
    /// Bytes that the next step asks for in one piece.
    pub piece_bytes: u64,
    /// Requests until the next step, if each fills as much as those before.
    pub requests_left: f64,
    /// Bytes per request that fill the memory between two steps.
    pub bytes_per_request: f64,
    /// The time of the last step.
    pub(crate) last_step: Instant,
    /// Requests between the next step and the one before.
    interval: f64,
    /// Each step is larger than the one before by this factor, and so is its interval.
    ratio: f64,
    /// Whether a step copies the old buffer.
    is_copying: bool,
}

/// How growth in steps ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepsEnd {
    /// Requests until memory is refused.
    pub requests: f64,
    /// Whether the very next step is refused.
    pub is_next: bool,
}

impl StepTracker {
    fn add(&mut self, at: Instant, sample: &StepSample) {
        let Some(last) = self.last else {
            self.last = Some(*sample);
            return;
        };
        let (before, now) = (last.live_bytes, sample.live_bytes);
        let has_fallen = before.saturating_sub(now) > MIN_STEP_BYTES.max(before / MAX_FALL_SHARE);
        let is_same = last.instance == sample.instance;
        if !is_same || has_fallen || sample.requests < last.requests {
            *self = StepTracker {
                last: Some(*sample),
                ..StepTracker::default()
            };
            return;
        }
        if sample.requests == last.requests {
            return;
        }
        self.last = Some(*sample);
        let requests = (sample.requests - last.requests) as f64;
        let rise = now.saturating_sub(before);
        let slope = rise as f64 / requests;
        let is_flat = |steep: f64| slope * MIN_STEEPNESS <= steep;
        if let Some((step, _)) = self.candidate.take_if(|(_, steep)| is_flat(*steep)) {
            if self.steps.len() == KEPT_STEPS {
                self.steps.pop_front();
            }
            self.steps.push_back(step);
        }
        self.candidate = None;
        let is_step =
            rise >= MIN_STEP_BYTES.max(now / MIN_STEP_SHARE) && slope >= self.slope * MIN_STEEPNESS;
        if is_step {
            let step = Step {
                at,
                requests: sample.requests as f64 - requests / 2.0,
                rise,
                linear_rise: sample.linear_bytes.saturating_sub(last.linear_bytes),
            };
            self.candidate = Some((step, slope));
        } else {
            self.slope = slope;
        }
    }

    /// `None` unless the last steps form a series that goes on.
    fn growth(&self) -> Option<SteppedGrowth> {
        let steps: Vec<Step> = self.steps.iter().copied().collect();
        let [first, second, last] = <[Step; KEPT_STEPS]>::try_from(steps).ok()?;
        let ratio = last.rise as f64 / second.rise as f64;
        let intervals = (
            second.requests - first.requests,
            last.requests - second.requests,
        );
        let found = intervals.1 / intervals.0 / ratio;
        let before = second.rise as f64 / first.rise as f64 / ratio;
        let fits = |factor: f64| (1.0 / SAME_RATIO..=SAME_RATIO).contains(&factor);
        if !RATIOS.contains(&ratio) || !fits(found) || !fits(before) {
            return None;
        }
        let interval = intervals.1 * ratio;
        let requests_left = last.requests + interval - self.last?.requests as f64;
        let piece = last.rise.max(last.linear_rise);
        (requests_left >= -interval * MAX_LATENESS).then_some(SteppedGrowth {
            piece_bytes: (piece as f64 * ratio) as u64,
            requests_left: requests_left.max(0.0),
            // The buffer was filled from its size two steps ago to its size one step ago.
            bytes_per_request: second.rise as f64 / intervals.1,
            last_step: last.at,
            interval,
            ratio,
            is_copying: last.linear_rise as f64 >= last.rise as f64 * COPYING_SHARE,
        })
    }
}

impl StepSample {
    fn of(plugin: &Plugin) -> Self {
        let reading = plugin.reading();
        let linear_bytes = reading.linear.bytes;
        StepSample {
            instance: (plugin.incarnation(), reading.generation),
            requests: reading.requests,
            // Without attribution, the steps of linear memory count.
            live_bytes: reading.heap_live.unwrap_or(linear_bytes),
            linear_bytes,
        }
    }
}

impl SteppedGrowth {
    /// When linear memory is refused that may grow by `room_bytes`. Only pieces count: what fills
    /// them is inside.
    pub fn end_of_linear_memory(&self, room_bytes: u64) -> Option<StepsEnd> {
        self.end(room_bytes as f64, 0.0, |piece| piece)
    }

    /// When resident memory that may grow by `room_bytes` reaches its limit. Pages are resident
    /// when they are filled, so memory grows between the steps, by `bytes_per_request`, and at a
    /// step by the copy of the old buffer.
    pub(crate) fn end_of_resident_memory(
        &self,
        room_bytes: u64,
        bytes_per_request: f64,
    ) -> Option<StepsEnd> {
        let copy = if self.is_copying {
            1.0 / self.ratio
        } else {
            0.0
        };
        self.end(room_bytes as f64, bytes_per_request, |piece| piece * copy)
    }

    fn end(
        &self,
        mut room: f64,
        bytes_per_request: f64,
        taken: impl Fn(f64) -> f64,
    ) -> Option<StepsEnd> {
        let (mut requests, mut until_step) = (0.0, self.requests_left);
        let (mut piece, mut interval) = (self.piece_bytes as f64, self.interval);
        for step in 0..MAX_FORECAST_STEPS {
            let filled = bytes_per_request * until_step;
            if filled >= room {
                return Some(StepsEnd {
                    requests: requests + room / bytes_per_request,
                    is_next: false,
                });
            }
            room -= filled + taken(piece);
            requests += until_step;
            if room < 0.0 {
                return Some(StepsEnd {
                    requests,
                    is_next: step == 0,
                });
            }
            piece *= self.ratio;
            interval *= self.ratio;
            until_step = interval;
        }
        None
    }
}

/// The steps of all plugins.
#[derive(Debug, Default)]
pub(crate) struct Steps(BTreeMap<String, StepTracker>);

impl Steps {
    /// Adds one sample of every plugin. `plugins` are in the order of their ids.
    pub(crate) fn record(&mut self, at: Instant, plugins: &[Arc<Plugin>]) {
        let mut loaded = contains_in_order(plugins);
        self.0.retain(|id, _| loaded(id));
        for plugin in plugins {
            let sample = StepSample::of(plugin);
            match self.0.get_mut(plugin.id()) {
                Some(tracker) => tracker.add(at, &sample),
                // A plugin without requests has no steps.
                None if sample.requests == 0 => {}
                None => {
                    let mut tracker = StepTracker::default();
                    tracker.add(at, &sample);
                    self.0.insert(plugin.id().to_owned(), tracker);
                }
            }
        }
    }

    /// Growth of a plugin in steps.
    pub(crate) fn of(&self, plugin_id: &str) -> Option<SteppedGrowth> {
        self.0.get(plugin_id)?.growth()
    }

    /// Growth in steps of the plugin whose next step is the largest.
    pub(crate) fn largest(&self) -> Option<SteppedGrowth> {
        let all = self.0.values().filter_map(StepTracker::growth);
        all.max_by_key(|growth| growth.piece_bytes)
    }
}

#[cfg(test)]
mod tests;
