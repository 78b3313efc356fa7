//! The owner of a plugin's instance. It does one thing at a time.
//!
//! - [`handle::Plugin`] is what all other code holds: it sends commands, and reads what the driver
//!   has published without waiting for it.
//! - The driver's task takes commands from the mailbox. The request path locks the driver and makes
//!   calls itself (see [`dispatch`](crate::dispatch)). The lock is first come, first served.
//! - A call that has begun runs to its end, even if its request was dropped. A call whose request
//!   waits no longer is skipped: for a plugin that is slow itself after the answer timeout, else
//!   after the queue timeout.
//! - A fault retires the instance. The host keeps it, so that its memory stays readable, and never
//!   calls it again. A reset starts the next generation.

pub(crate) mod call_limit;
mod call_pace;
pub(crate) mod catch_panic;
mod command;
pub mod handle;
pub mod journal;
mod pending_backtrace;
pub mod published_state;
mod replace;
mod restart;
mod retention_pace;
mod retire;
mod schedule_run;
pub(crate) mod target;
mod task;
mod update;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::Instant;

use guest_heap::ContextCursor;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::DropGuard;

use crate::driver::call_pace::CallPace;
use crate::driver::journal::EventKind;
use crate::driver::pending_backtrace::PendingBacktrace;
use crate::driver::published_state::{PluginDetails, PluginReading, PublishedState, RunState};
use crate::driver::retention_pace::RetentionPace;
use crate::driver::schedule_run::ScheduleRun;
use crate::driver::target::TargetTracker;
use crate::instance::Instance;
use crate::load::loader::{CompiledComponent, Loader};
use crate::load::started_plugin::StartedPlugin;
use crate::metrics::PluginSeries;
use crate::settings::{Defaults, Settings};

pub use self::command::{
    ClearOutcome, InvocationResult, PluginHeapTables, RecycleOutcome, ResetOutcome,
};
pub(crate) use self::command::{Command, ReplaceOutcome};

/// The owner of one plugin's instance.
pub(crate) struct Driver {
    /// The id in the form that span names share.
    pub(crate) name: Arc<str>,
    loader: Loader,
    defaults: Defaults,
    component: Arc<CompiledComponent>,
    pub(crate) instance: Instance,
    pub(crate) details: PluginDetails,
    pub(crate) reading: PluginReading,
    expiry: Option<Instant>,
    /// The schedule of the enabled leak.
    schedule: Option<ScheduleRun>,
    pub(crate) target: TargetTracker,
    pub(crate) pace: CallPace,
    pub(crate) retention_pace: RetentionPace,
    pub(crate) metrics: Arc<PluginSeries>,
    /// The call stack of the last fault while its symbols are read.
    pending_backtrace: Option<PendingBacktrace>,
    pub(crate) published: Arc<PublishedState>,
    /// The last field: when it is dropped, everything else is gone.
    _ended: DropGuard,
}

impl Driver {
    /// A driver that has published its first state. Dropping it triggers `ended`.
    fn new(
        started: StartedPlugin,
        defaults: Defaults,
        loader: Loader,
        metrics: Arc<PluginSeries>,
        ended: DropGuard,
    ) -> Self {
        let StartedPlugin {
            component,
            manifest,
            instance,
        } = started;
        let linear = instance.linear_memory();
        let reading = PluginReading {
            linear,
            linear_peak: linear.bytes,
            linear_start: linear.bytes,
            generation: 1,
            ..PluginReading::default()
        };
        let settings = Settings::new(&manifest.id, manifest.settings.clone(), &defaults);
        let details = PluginDetails {
            manifest,
            source: Arc::new(component.source.clone()),
            settings: Arc::new(settings),
            state: RunState::Running,
            last_failure: None,
            profile: component.meta.clone(),
            expires_at: None,
            next_change: None,
            loaded_at: Timestamp::now(),
        };
        let mut driver = Driver {
            name: details.manifest.id.as_str().into(),
            loader,
            defaults,
            component,
            instance,
            published: Arc::new(PublishedState::new(details.clone(), reading)),
            details,
            reading,
            expiry: None,
            schedule: None,
            target: TargetTracker::default(),
            pace: CallPace::default(),
            retention_pace: RetentionPace::default(),
            metrics,
            pending_backtrace: None,
            _ended: ended,
        };
        driver.publish();
        driver
    }

    pub(crate) fn id(&self) -> &str {
        &self.details.manifest.id
    }

    /// The name under which the guest's output is logged; `None` if it is dropped.
    fn log_name(&self) -> Option<&str> {
        (!self.details.manifest.is_masked).then_some(&*self.name)
    }

    /// Whether a call has left a backtrace that the driver's task has not taken yet.
    fn has_pending_backtrace(&self) -> bool {
        self.pending_backtrace.is_some()
    }

    fn heap_tables(&self, (generation, seen): (u64, ContextCursor)) -> Option<PluginHeapTables> {
        self.instance.heap_summary()?;
        let current = self.reading.generation;
        let mut seen = if generation == current {
            seen
        } else {
            ContextCursor::default()
        };
        let tables = self.instance.heap_tables(&mut seen);
        Some(PluginHeapTables {
            generation: current,
            tables,
            seen,
            source: self.details.source.clone(),
        })
    }

    /// Enables or disables the leak, and restarts its time to live and its schedule.
    fn set_enabled(&mut self, enabled: bool) {
        self.restart_expiry(enabled);
        if self.published.enabled() != enabled {
            tracing::info!(plugin = self.id(), enabled, "switched");
            self.published.journal().record(if enabled {
                EventKind::Enabled
            } else {
                EventKind::Disabled
            });
        }
        self.published.set_enabled(enabled);
        self.start_schedule();
        self.publish();
    }

    /// Restarts the time to live.
    fn restart_expiry(&mut self, enabled: bool) {
        let time_to_live = self.details.settings.policy().time_to_live;
        let time_to_live = time_to_live.filter(|_| enabled);
        self.expiry = time_to_live.map(|time| Instant::now() + time);
        self.details.expires_at = time_to_live.and_then(|time| {
            let time = SignedDuration::try_from(time).ok()?;
            Timestamp::now().checked_add(time).ok()
        });
    }

    /// Forgets how long earlier calls took, and what they retained.
    fn forget_pace(&mut self) {
        self.pace = CallPace::default();
        self.retention_pace = RetentionPace::default();
        self.published.set_slow(false);
    }

    /// Reads the instance's memory, and counts what changed since the last reading.
    pub(crate) fn read_memory(&mut self) {
        let before = self.reading.linear;
        let now = self.instance.linear_memory();
        for _ in before.grows..now.grows {
            self.metrics.memory_grew();
        }
        for _ in before.denials..now.denials {
            self.metrics.memory_grow_denied();
        }
        if now.bytes > before.bytes {
            self.published.journal().record(EventKind::Grown {
                from: before.bytes,
                to: now.bytes,
            });
        }
        self.reading.linear = now;
        self.reading.linear_peak = self.reading.linear_peak.max(now.bytes);
        let heap = self.instance.heap_summary();
        let live = heap.map(|heap| heap.live_bytes);
        self.reading.heap_live = live;
        self.reading.heap_peak = self.reading.heap_peak.max(live.unwrap_or(0));
        self.reading.profiler_bytes = heap.map_or(0, |heap| heap.profiler_bytes);
        let coverage = heap.map(|heap| heap.coverage).unwrap_or_default();
        let overflowed = coverage.overflowed;
        self.metrics
            .attribution_overflowed(overflowed.saturating_sub(self.reading.coverage.overflowed));
        self.reading.coverage = coverage;
    }

    /// Reads the instance's memory and publishes everything.
    fn publish(&mut self) {
        self.read_memory();
        self.published.set_reading(&self.reading);
        self.published.set_details(self.details.clone());
    }
}
