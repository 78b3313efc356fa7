//! What a driver publishes about its plugin. Everyone can read it without waiting for the driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use guest_heap::{Attribution, Coverage, InstrumentedMeta};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::driver::journal::{EventKind, Journal};
use crate::error::{Fault, FaultKind, PluginError};
use crate::instance::{LinearMemory, Retained};
use crate::load::component_source::ComponentSource;
use crate::load::manifest::Manifest;
use crate::settings::Settings;

/// The published number that means `None`.
const NONE: u64 = u64::MAX;

/// Whether the host can call a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// The host can call it.
    Running,
    /// The host denied the plugin memory, and its instance was retired.
    Exhausted(Fault),
    /// Any other fault retired its instance.
    Faulted(Fault),
}

impl RunState {
    /// The state after a fault.
    pub(crate) fn after(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::MemoryLimit => RunState::Exhausted(fault),
            _ => RunState::Faulted(fault),
        }
    }

    /// `running`, `exhausted` or `faulted`.
    pub fn name(&self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Exhausted(_) => "exhausted",
            RunState::Faulted(_) => "faulted",
        }
    }

    /// The fault that retired the instance.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            RunState::Running => None,
            RunState::Exhausted(fault) | RunState::Faulted(fault) => Some(fault),
        }
    }

    /// Checks that the plugin can be called.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotRunning`] with the plugin's id and the reason of its fault.
    pub(crate) fn ensure_running(&self, plugin: &str) -> Result<(), PluginError> {
        match self.fault() {
            None => Ok(()),
            Some(fault) => Err(PluginError::NotRunning {
                plugin: plugin.to_owned(),
                state: self.name(),
                reason: fault.reason.clone(),
            }),
        }
    }
}

/// The properties of a plugin that rarely change.
#[derive(Debug, Clone)]
pub struct PluginDetails {
    /// What the plugin says about itself.
    pub manifest: Arc<Manifest>,
    /// Where its component comes from.
    pub source: Arc<ComponentSource>,
    /// Its settings.
    pub settings: Arc<Settings>,
    /// Whether the host can call it.
    pub state: RunState,
    /// Its last fault. A reset does not remove it.
    pub last_failure: Option<Arc<Failure>>,
    /// What the profiler knows about its component.
    pub profile: Arc<InstrumentedMeta>,
    /// When its leak disables itself.
    pub expires_at: Option<Timestamp>,
    /// When its schedule makes the enabled leak active or inactive.
    pub(crate) next_change: Option<Instant>,
    /// When its component was loaded.
    pub loaded_at: Timestamp,
}

impl PluginDetails {
    /// Time until the schedule makes the enabled leak active or inactive; `None` if that does not
    /// happen.
    pub fn next_change_in(&self) -> Option<Duration> {
        let next = self.next_change?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// How precisely the heap is attributed to source lines: by what was known when the component
    /// was loaded, and by what the profiler has seen since. `reading` is of the same plugin.
    pub fn attribution(&self, reading: &PluginReading) -> Attribution {
        reading.coverage.attribution(&self.profile)
    }
}

/// A fault with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When it happened.
    pub at: Timestamp,
    /// The fault. Function names are available at once; source lines follow when the symbols are
    /// read.
    pub fault: Fault,
}

/// The numbers of a plugin that change with each request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginReading {
    /// What the pattern retains, from its last answer.
    pub retained: Retained,
    /// The linear memory of the instance.
    pub linear: LinearMemory,
    /// The most linear memory that any instance of this plugin has had, in bytes.
    pub linear_peak: u64,
    /// The linear memory right after the start of the instance, in bytes.
    pub linear_start: u64,
    /// Bytes that the guest has allocated and not freed; `None` without attribution.
    pub heap_live: Option<u64>,
    /// The maximum of `heap_live` since the start of the instance.
    pub heap_peak: u64,
    /// Bytes of the profiler's own memory in the guest.
    pub profiler_bytes: u64,
    /// What the profiler has seen of the guest's memory; all 0 without attribution.
    pub coverage: Coverage,
    /// The number of the instance, from 1.
    pub generation: u64,
    /// Requests that this instance was offered while its leak was enabled.
    pub requests: u64,
    /// The same since the last clear.
    pub(crate) requests_since_clear: u64,
}

impl PluginReading {
    /// Retained bytes per request since the last clear; zero before the first request.
    pub fn bytes_per_request(&self) -> f64 {
        match self.requests_since_clear {
            0 => 0.0,
            n => self.retained.bytes as f64 / n as f64,
        }
    }
}

/// A guest call of a command in progress.
pub(crate) struct CommandCall(Arc<PublishedState>);

impl Drop for CommandCall {
    fn drop(&mut self) {
        self.0.command_deadline_ms.store(0, Ordering::Relaxed);
    }
}

/// What a driver publishes. The driver writes; any thread reads.
#[derive(Debug)]
pub(crate) struct PublishedState {
    enabled: AtomicBool,
    /// Whether requests reach the leak: it is enabled, and its schedule has it on.
    active: AtomicBool,
    details: ArcSwap<PluginDetails>,
    numbers: [AtomicU64; 14],
    coverage: [AtomicU64; Coverage::NUMBERS],
    journal: Journal,
    /// Calls of the guest that have begun, for requests and for commands.
    calls_begun: AtomicU64,
    /// Whether the calls of this plugin take long.
    slow: AtomicBool,
    /// Whether the work in progress takes long: a call or a command.
    held: AtomicBool,
    /// The deadline of the guest call that a command makes, in milliseconds; 0 between such calls.
    command_deadline_ms: AtomicU64,
    /// Whether a call does not come back, so that nobody waits for the driver.
    given_up: AtomicBool,
    /// Notified when the plugin is given up.
    given_up_changed: Notify,
}

impl PublishedState {
    pub(crate) fn new(details: PluginDetails, reading: PluginReading) -> Self {
        let published = PublishedState {
            enabled: AtomicBool::new(false),
            active: AtomicBool::new(false),
            details: ArcSwap::from_pointee(details),
            numbers: Default::default(),
            coverage: Default::default(),
            journal: Journal::default(),
            calls_begun: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            held: AtomicBool::new(false),
            command_deadline_ms: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            given_up_changed: Notify::new(),
        };
        published.journal.record(EventKind::Loaded);
        published.set_reading(&reading);
        published
    }

    pub(crate) fn set_reading(&self, r: &PluginReading) {
        let values = [
            r.retained.objects,
            r.retained.bytes,
            r.linear.bytes,
            r.linear.limit,
            r.linear.grows,
            r.linear.denials,
            r.linear_peak,
            r.linear_start,
            r.generation,
            r.requests,
            r.requests_since_clear,
            r.heap_live.map_or(NONE, |bytes| bytes.min(NONE - 1)),
            r.heap_peak,
            r.profiler_bytes,
        ];
        for (slot, value) in self.numbers.iter().zip(values) {
            slot.store(value, Ordering::Relaxed);
        }
        for (slot, value) in self.coverage.iter().zip(r.coverage.to_numbers()) {
            slot.store(value, Ordering::Relaxed);
        }
    }

    fn coverage(&self) -> Coverage {
        Coverage::from_numbers(self.coverage.each_ref().map(|n| n.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_details(&self, details: PluginDetails) {
        self.details.store(Arc::new(details));
    }

    /// Counts a call that begins.
    pub(crate) fn begin_call(&self) {
        // Only the holder of the driver writes.
        let begun = self.calls_begun.load(Ordering::Relaxed);
        self.calls_begun.store(begun + 1, Ordering::Relaxed);
    }

    pub(crate) fn calls_begun(&self) -> u64 {
        self.calls_begun.load(Ordering::Relaxed)
    }

    /// Publishes whether the calls take long. Writes only if that changes.
    pub(crate) fn set_slow(&self, slow: bool) {
        if self.slow.load(Ordering::Relaxed) != slow {
            self.slow.store(slow, Ordering::Relaxed);
        }
    }

    /// Publishes whether the work in progress takes long.
    pub(crate) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Whether the plugin itself makes requests wait.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed) || self.held.load(Ordering::Relaxed)
    }

    /// Publishes that the plugin is faulted, although its driver is still in the call.
    pub(crate) fn give_up(&self, deadline: Duration) {
        self.given_up.store(true, Ordering::SeqCst);
        let fault = Fault {
            kind: FaultKind::Deadline,
            reason: format!(
                "did not return within {} ms, and cannot be interrupted yet",
                deadline.as_millis()
            ),
            backtrace: Vec::new(),
        };
        let mut details = PluginDetails::clone(&self.details.load());
        details.last_failure = Some(Arc::new(Failure {
            at: Timestamp::now(),
            fault: fault.clone(),
        }));
        details.state = RunState::after(fault);
        self.set_details(details);
        self.given_up_changed.notify_waiters();
    }

    /// Waits until the plugin is given up.
    pub(crate) async fn given_up(&self) {
        let mut changed = std::pin::pin!(self.given_up_changed.notified());
        // From here on a notification counts, so none is lost between the check and the wait.
        changed.as_mut().enable();
        if !self.given_up.load(Ordering::SeqCst) {
            changed.await;
        }
    }

    /// Announces a guest call of a command, until the result is dropped.
    pub(crate) fn begin_command_call(self: &Arc<Self>, deadline: Duration) -> CommandCall {
        self.begin_call();
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.command_deadline_ms
            .store(milliseconds.max(1), Ordering::Relaxed);
        CommandCall(self.clone())
    }

    /// The deadline of the guest call that a command makes now.
    pub(crate) fn command_deadline(&self) -> Option<Duration> {
        let milliseconds = self.command_deadline_ms.load(Ordering::Relaxed);
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// Whether the plugin was given up since the last call of this function.
    pub(crate) fn take_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) && self.given_up.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    pub(crate) fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    pub(crate) fn active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// The last published reading. Its numbers may come from two consecutive calls.
    pub(crate) fn reading(&self) -> PluginReading {
        let [
            objects,
            bytes,
            linear,
            limit,
            grows,
            denials,
            peak,
            start,
            generation,
            requests,
            since_clear,
            heap_live,
            heap_peak,
            profiler_bytes,
        ] = self.numbers.each_ref().map(|n| n.load(Ordering::Relaxed));
        PluginReading {
            retained: Retained { objects, bytes },
            linear: LinearMemory {
                bytes: linear,
                limit,
                grows,
                denials,
            },
            linear_peak: peak,
            linear_start: start,
            generation,
            requests,
            requests_since_clear: since_clear,
            heap_live: (heap_live != NONE).then_some(heap_live),
            heap_peak,
            profiler_bytes,
            coverage: self.coverage(),
        }
    }

    pub(crate) fn details(&self) -> Guard<Arc<PluginDetails>> {
        self.details.load()
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }
}
