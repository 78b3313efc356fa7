//! The verdict on one plugin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_heap::verdict::{self, HandleGrowth, LineFloors, Verdict, Windows};

use crate::forecast::{Forecast, NextStep};
use crate::heap::Heaps;
use crate::memory_change::last_memory_change;
use crate::sample_history::{PluginSample, SampleHistory};
use crate::samples::Sample;
use crate::steps::SteppedGrowth;
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::published_state::RunState;

/// Lines of a verdict.
const MAX_LINES: usize = 3;

/// The most linear memory of a 32-bit module. A limit of this size is no limit of its own.
const MAX_LINEAR_BYTES: u64 = 1 << 32;

/// The heap is read within this time before and after a step.
const STEP_MARGIN: Duration = Duration::from_secs(3);

/// Growth that has lasted for this many calls without a fall is a leak: twice the batch of a
/// sawtooth, and some more.
const MIN_LEAK_CALLS: u64 = 250;

/// The verdict on one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginVerdict {
    /// Its id.
    pub plugin: String,
    /// What holds its memory.
    pub verdict: Verdict,
    /// The lines that grow, largest growth first.
    pub lines: Vec<GrowingLine>,
    /// Bytes that one call leaves behind.
    pub bytes_per_request: f64,
    /// Live bytes now.
    pub live_bytes: u64,
    /// Calls that were observed.
    pub calls: u64,
    /// Whether it is too early to call the growth a leak: memory that is freed in batches looks the
    /// same before it falls for the first time.
    pub is_early: bool,
    /// Seconds until its own limit, and the limit in bytes.
    pub own_limit: Option<(f64, u64)>,
    /// The next step, if its memory grows in steps.
    pub next_step: Option<NextStep>,
}

/// A line that grows.
#[derive(Debug, Clone, PartialEq)]
pub struct GrowingLine {
    /// `plugins/cache/src/lib.rs:67`.
    pub location: Arc<str>,
    /// Bytes that one call leaves behind at this line.
    pub bytes_per_request: f64,
}

/// Judges a plugin. `None` while it is off, has failed, or has had too few calls since it was
/// switched, configured, cleared or restarted.
///
/// `before` is its last verdict. The lines of growth in steps are those of the last step, which may
/// be longer ago than the history.
pub(super) fn judge(
    plugin: &Plugin,
    heaps: &Heaps,
    history: &SampleHistory,
    before: Option<&PluginVerdict>,
) -> Option<PluginVerdict> {
    let reading = plugin.reading();
    if !plugin.enabled() || reading.requests == 0 {
        return None;
    }
    if !matches!(plugin.details().state, RunState::Running) {
        return None;
    }
    let since = last_memory_change(&plugin.journal().events());
    let (windows, steps) = {
        let state = history.lock();
        let steps = state.steps.of(plugin.id());
        let samples = state.of_plugin(plugin)?.iter().copied();
        let samples = samples.filter(|s| {
            s.value.generation == reading.generation
                && since.is_none_or(|since| s.at.instant >= since)
        });
        let windows = Windows::of(samples.map(sample))?;
        (windows, steps)
    };
    let starts = windows.starts.iter();
    let starts: Vec<_> = starts.map(|at| heaps.time_of(*at)).collect();
    let lines = heaps.with_history(plugin, |history| history.floors(&starts));
    let verdict = PluginVerdict::of(plugin.id(), &windows, &lines);
    Some(match steps {
        Some(steps) => {
            let step = heaps.time_of(steps.last_step);
            let around = [step.saturating_sub(STEP_MARGIN), step + STEP_MARGIN];
            let lines = heaps.with_history(plugin, |history| history.floors(&around));
            let before = before.map_or(&[][..], |verdict| &verdict.lines);
            verdict.in_steps(&steps, &lines, before)
        }
        None => verdict,
    })
}

fn sample(sample: Sample<PluginSample>) -> verdict::Sample<Instant> {
    verdict::Sample {
        at: sample.at.instant,
        calls: sample.value.requests,
        live_bytes: sample.value.heap_live_bytes,
        linear_bytes: sample.value.linear_bytes,
        unseen_bytes: sample.value.unseen_bytes,
    }
}

impl PluginVerdict {
    pub(super) fn of<T: Copy>(plugin: &str, windows: &Windows<T>, lines: &[LineFloors]) -> Self {
        let verdict = Verdict::of_guest(&windows.evidence(lines, HandleGrowth::default()));
        let calls = windows.calls_between() as f64;
        let live_per_call = windows.live.growth() as f64 / calls;
        // Many lines can grow in turn, so that none of them grows in every window.
        let grows_unseen = !verdict.is_leak()
            && !matches!(verdict, Verdict::FillingCache { .. })
            && windows.live.rises()
            && !windows.live.slows(&windows.calls);
        // The first batch needs fresh linear memory; the next ones use it again.
        let is_first_batch = windows.fell
            && windows.all_calls < MIN_LEAK_CALLS
            && matches!(verdict, Verdict::AllocatorHoldsMemory { .. });
        let verdict = if is_first_batch {
            Verdict::NoLeak
        } else if grows_unseen {
            Verdict::Leak {
                lines: 0,
                bytes_per_call: live_per_call,
            }
        } else {
            verdict
        };
        // The heap is read a moment after the count of requests. The total is of the same moment.
        let of_lines: i64 = lines.iter().map(|line| line.bytes.growth()).sum();
        let skew = windows.live.growth() as f64 / of_lines.max(1) as f64;
        let skew = if (0.5..2.0).contains(&skew) {
            skew
        } else {
            1.0
        };
        let growing = lines.iter().filter(|line| {
            line.bytes.growth() > 0
                && (grows_unseen || line.bytes.rises() && !line.bytes.slows(&windows.calls))
        });
        let line = |line: &LineFloors| GrowingLine {
            location: line.site.location.clone(),
            bytes_per_request: line.bytes.growth() as f64 / calls * skew,
        };
        PluginVerdict {
            plugin: plugin.to_owned(),
            bytes_per_request: match verdict {
                Verdict::Leak { lines: 0, .. } => live_per_call,
                Verdict::Leak { bytes_per_call, .. } => bytes_per_call * skew,
                Verdict::UnseenGrowth { bytes_per_call } => bytes_per_call,
                Verdict::AllocatorHoldsMemory {
                    linear_bytes_per_call,
                    ..
                } => linear_bytes_per_call,
                _ => 0.0,
            },
            verdict,
            lines: growing.take(MAX_LINES).map(line).collect(),
            live_bytes: windows.last.live_bytes,
            calls: windows.observed_calls(),
            is_early: !windows.fell && windows.all_calls < MIN_LEAK_CALLS,
            own_limit: None,
            next_step: None,
        }
    }

    /// The same for growth in steps. Between two steps no line grows. `around` are the lines that
    /// grew at the last step, and `before` is what was known of it.
    fn in_steps(
        self,
        steps: &SteppedGrowth,
        around: &[LineFloors],
        before: &[GrowingLine],
    ) -> Self {
        let bytes_per_request = steps.bytes_per_request;
        let largest = around.iter().max_by_key(|line| line.bytes.growth());
        let line = largest.filter(|line| line.bytes.growth() > 0);
        let found = line.map(|line| GrowingLine {
            location: line.site.location.clone(),
            bytes_per_request,
        });
        let lines = match found {
            Some(line) => vec![line],
            None if self.lines.is_empty() => before.to_vec(),
            None => self.lines,
        };
        PluginVerdict {
            verdict: Verdict::Leak {
                lines: 1,
                bytes_per_call: bytes_per_request,
            },
            is_early: false,
            bytes_per_request,
            lines,
            ..self
        }
    }

    /// The same with the time to the plugin's own limit, if it has one, and its next step.
    pub(super) fn with_forecast(self, plugin: &Plugin, history: &SampleHistory) -> Self {
        let limit = plugin.details().settings.policy().memory_limit;
        let forecast = Forecast::of_plugin(history, plugin, limit);
        let seconds = forecast.and_then(|forecast| forecast.seconds_to_limit);
        let own = seconds.filter(|_| limit < MAX_LINEAR_BYTES);
        PluginVerdict {
            own_limit: own.map(|seconds| (seconds, limit)),
            next_step: forecast.and_then(|forecast| forecast.next_step),
            ..self
        }
    }
}
