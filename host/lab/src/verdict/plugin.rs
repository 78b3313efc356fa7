//! The verdict on one plugin.

use std::sync::Arc;
use std::time::Instant;

use guest_heap::verdict::{Evidence, HandleGrowth, LineFloors, Verdict};

use super::windows::Windows;
use crate::forecast::Forecast;
use crate::heap::Heaps;
use crate::sample_history::SampleHistory;
use plugin_host::driver::handle::Plugin;
use plugin_host::driver::journal::{Event, EventKind};
use plugin_host::driver::published_state::RunState;

/// Lines of a verdict.
const MAX_LINES: usize = 3;

/// The most linear memory of a 32-bit module. A limit of this size is no limit of its own.
const MAX_LINEAR_BYTES: u64 = 1 << 32;

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
    /// Seconds until its own limit, and the limit in bytes.
    pub own_limit: Option<(f64, u64)>,
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
pub(super) fn judge(
    plugin: &Plugin,
    heaps: &Heaps,
    history: &SampleHistory,
) -> Option<PluginVerdict> {
    let reading = plugin.reading();
    if !plugin.enabled() || reading.requests == 0 {
        return None;
    }
    if !matches!(plugin.details().state, RunState::Running) {
        return None;
    }
    let since = last_change(&plugin.journal().events());
    let windows = {
        let state = history.lock();
        let samples = state.of_plugin(plugin)?.iter().copied();
        Windows::of(samples.filter(|s| {
            s.value.generation == reading.generation
                && since.is_none_or(|since| s.at.instant >= since)
        }))?
    };
    let starts = windows.starts.iter();
    let starts: Vec<_> = starts.map(|at| heaps.time_of(*at)).collect();
    let lines = heaps.with_history(plugin, |history| history.floors(&starts));
    Some(PluginVerdict::of(plugin.id(), &windows, &lines))
}

/// The time of the last change that makes earlier samples worthless.
fn last_change(events: &[Event]) -> Option<Instant> {
    let is_change = |event: &&Event| match event.kind {
        EventKind::Enabled
        | EventKind::Configured
        | EventKind::Cleared { .. }
        | EventKind::Restarted { .. } => true,
        EventKind::Loaded
        | EventKind::Disabled
        | EventKind::Grown { .. }
        | EventKind::Exhausted { .. }
        | EventKind::Trapped { .. } => false,
    };
    events.iter().rev().find(is_change).map(|e| e.at.instant)
}

impl PluginVerdict {
    pub(super) fn of(plugin: &str, windows: &Windows, lines: &[LineFloors]) -> Self {
        let verdict = Verdict::of_guest(&Evidence {
            handles: HandleGrowth::default(),
            calls: &windows.calls,
            lines,
            live: &windows.live,
            linear: &windows.linear,
            unseen: &windows.unseen,
            live_now: windows.last.heap_live_bytes,
        });
        let calls = windows.calls_between() as f64;
        let live_per_call = windows.live.growth() as f64 / calls;
        // Many lines can grow in turn, so that none of them grows in every window.
        let grows_unseen = !verdict.is_leak()
            && !matches!(verdict, Verdict::FillingCache { .. })
            && windows.live.rises()
            && !windows.live.slows(&windows.calls);
        let verdict = if grows_unseen {
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
            live_bytes: windows.last.heap_live_bytes,
            calls: windows.last.requests - windows.calls.first().copied().unwrap_or_default(),
            own_limit: None,
        }
    }

    /// The same with the time to the plugin's own limit, if it has one.
    pub(super) fn with_own_limit(self, plugin: &Plugin, history: &SampleHistory) -> Self {
        let limit = plugin.details().settings.policy().memory_limit;
        let forecast = (limit < MAX_LINEAR_BYTES)
            .then(|| Forecast::of_plugin(history, plugin, limit))
            .flatten();
        let seconds = forecast.and_then(|forecast| forecast.seconds_to_limit);
        PluginVerdict {
            own_limit: seconds.map(|seconds| (seconds, limit)),
            ..self
        }
    }
}
