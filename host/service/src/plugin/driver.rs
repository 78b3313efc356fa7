//! What owns a plugin's instance and does one thing at a time with it.
//!
//! A fault retires the instance: it is kept, so that its memory stays visible, but never called again. `reset`
//! starts the next generation.

mod command;
mod failure;
mod invoke;
mod replace;
mod restart;
mod shared;

use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_heap::ContextCursor;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::board::{Board, Details, Reading, State, not_running};
use super::error::PluginError;
use super::handle::Plugin;
use super::instance::Instance;
use super::journal::EventKind;
use super::loader::{Loaded, Loader, Profile};
use super::settings::{Defaults, Settings, Value};
use super::target::Course;
use crate::telemetry::metrics::{PluginHandles, RecycleReason};

pub(crate) use self::command::{
    Clearing, Command, HeapBooks, InvocationResult, Recycling, Resetting,
};
pub(crate) use self::replace::{Replaced, Replacement};
pub(crate) use self::shared::Shared;

/// Starts a driver; it ends when the handle is gone and what it was asked is done. `life` tells this plugin from one
/// that had its id before.
pub(crate) fn spawn(
    first: Replacement,
    life: u64,
    defaults: Defaults,
    loader: Loader,
    metrics: Arc<PluginHandles>,
    tasks: &tokio_util::task::TaskTracker,
) -> Arc<Plugin> {
    let id = first.id().to_owned();
    let settings = Arc::new(Settings::new(
        &id,
        first.manifest.settings.clone(),
        defaults,
    ));
    let linear = first.instance.linear_memory();
    let reading = Reading {
        linear,
        linear_peak: linear.bytes,
        linear_start: linear.bytes,
        generation: 1,
        ..Reading::default()
    };
    let details = Details {
        manifest: first.manifest.clone(),
        origin: Arc::new(first.loaded.origin.clone()),
        settings: settings.clone(),
        state: State::Running,
        last_failure: None,
        attribution: first.loaded.meta.attribution().clone(),
        expires_at: None,
        loaded_at: Timestamp::now(),
    };
    let ended = CancellationToken::new();
    let board = Arc::new(Board::new(details.clone(), reading));
    let plugin_metrics = metrics.clone();
    let mut driver = Driver {
        name: id.as_str().into(),
        loader,
        defaults,
        loaded: first.loaded,
        instance: first.instance,
        details,
        reading,
        expiry: None,
        course: Course::default(),
        metrics,
        explaining: None,
        board: board.clone(),
        _ended: ended.clone().drop_guard(),
    };
    driver.publish();
    let shared = Shared::start(driver, tasks);
    Arc::new(Plugin::new(id, life, board, shared, plugin_metrics, ended))
}

struct Driver {
    /// The id again, as the names of spans share it.
    name: Arc<str>,
    loader: Loader,
    defaults: Defaults,
    loaded: Arc<Loaded>,
    instance: Instance,
    details: Details,
    reading: Reading,
    expiry: Option<Instant>,
    course: Course,
    metrics: Arc<PluginHandles>,
    /// The last fault's call stack, on its way to source lines.
    explaining: Option<failure::Explaining>,
    board: Arc<Board>,
    /// Dropped last: whoever waits for the end may count on everything else being gone.
    _ended: DropGuard,
}

impl Driver {
    /// Does what a command asks for, and answers.
    async fn obey(&mut self, command: Command) {
        // A receiver that is gone no longer wants the answer.
        match command {
            Command::Switch {
                enabled,
                changes,
                compiled,
                reply,
            } => {
                drop(reply.send(self.switch(enabled, changes, compiled).await));
            }
            Command::Clear { reply } => drop(reply.send(self.clear().await)),
            Command::Reset { everything, reply } => drop(reply.send(self.reset(everything).await)),
            // It is asked every second, and not waited for when it takes too long.
            Command::Books { reply, .. } if reply.is_closed() => {}
            Command::Books { known, reply } => drop(reply.send(self.books(known))),
            Command::Recycle { reply } => drop(reply.send(self.recycle().await)),
            Command::Replace { replacement, reply } => {
                drop(reply.send(self.replace(*replacement).await));
            }
        }
    }

    fn id(&self) -> &str {
        &self.details.manifest.id
    }

    fn books(&self, (generation, seen): (u64, ContextCursor)) -> Option<HeapBooks> {
        self.instance.heap()?;
        let current = self.reading.generation;
        let mut seen = if generation == current {
            seen
        } else {
            ContextCursor::default()
        };
        let books = self.instance.books(&mut seen);
        Some(HeapBooks {
            generation: current,
            books,
            seen,
            origin: self.details.origin.clone(),
        })
    }

    async fn switch(
        &mut self,
        enabled: Option<bool>,
        changes: Vec<(String, Value)>,
        compiled: Option<Box<Loaded>>,
    ) -> Result<(), PluginError> {
        if enabled == Some(true) {
            not_running(self.id(), &self.details.state)?;
        }
        let old = self.details.settings.clone();
        let changed = !changes.is_empty();
        let next = Arc::new(old.with(changes)?);
        let (before, after) = (old.policy(), next.policy());
        if before.heap_profile != after.heap_profile {
            // A fresh instance is told everything at its start.
            let profile = Profile::wanted(after.heap_profile);
            let origin = &self.loaded.origin;
            let compiled =
                compiled.filter(|other| other.profile == profile && other.origin.is_of(origin));
            let loaded = match compiled {
                Some(loaded) => Arc::from(loaded),
                // Changed while it was compiled.
                None => self.with_profile(profile).await?,
            };
            self.restart(loaded, Settings::clone(&next), RecycleReason::Reload)
                .await?;
        } else {
            self.tell_changes(&old, &next).await?;
            self.details.settings = next;
            if before.memory_limit != after.memory_limit {
                self.instance.set_memory_limit(after.memory_limit);
            }
        }
        if enabled.is_some() || before.target != after.target {
            self.course.begin_anew();
        }
        if changed {
            self.board.journal().note(EventKind::Configured);
        }
        let on = enabled.unwrap_or(self.board.enabled());
        if enabled.is_some() || before.time_to_live != after.time_to_live {
            self.set_enabled(on);
        } else {
            self.publish();
        }
        Ok(())
    }

    /// Tells the instance what it does not know of its settings yet.
    async fn tell_changes(&mut self, old: &Settings, next: &Settings) -> Result<(), PluginError> {
        if next.plugin_changes(old).next().is_none() {
            return Ok(());
        }
        not_running(self.id(), &self.details.state)?;
        let told = self
            .instance
            .configure(next.plugin_changes(old), next.policy().deadline)
            .await;
        told.unwrap_or_else(|fault| Err(self.failed(fault)))
    }

    async fn clear(&mut self) -> Result<Clearing, PluginError> {
        not_running(self.id(), &self.details.state)?;
        let deadline = self.details.settings.policy().deadline.max(CLEAR_DEADLINE);
        let done = match self.instance.clear(deadline).await {
            Ok(removed) => {
                let left = self.instance.retained(deadline).await;
                left.map(|left| (removed, left))
            }
            Err(fault) => Err(fault),
        };
        match done {
            Ok((removed, left)) => {
                self.reading.retained = left;
                self.reading.requests_since_clear = 0;
                self.course.begin_anew();
                self.metrics.cleared();
                self.publish();
                self.board.journal().note(EventKind::Cleared {
                    objects: removed.objects,
                    bytes: removed.bytes,
                });
                tracing::info!(
                    plugin = self.id(),
                    objects = removed.objects,
                    bytes = removed.bytes,
                    "cleared"
                );
                Ok(Clearing { removed })
            }
            Err(fault) => Err(self.failed(fault)),
        }
    }

    fn set_enabled(&mut self, enabled: bool) {
        let ttl = self
            .details
            .settings
            .policy()
            .time_to_live
            .filter(|_| enabled);
        self.expiry = ttl.map(|ttl| Instant::now() + ttl);
        self.details.expires_at = ttl.and_then(|ttl| {
            Timestamp::now()
                .checked_add(SignedDuration::try_from(ttl).ok()?)
                .ok()
        });
        if self.board.enabled() != enabled {
            tracing::info!(plugin = self.id(), enabled, "switched");
            self.board.journal().note(if enabled {
                EventKind::Enabled
            } else {
                EventKind::Disabled
            });
        }
        self.board.set_enabled(enabled);
        self.publish();
    }

    fn read_memory(&mut self) {
        let before = self.reading.linear;
        let now = self.instance.linear_memory();
        for _ in before.grows..now.grows {
            self.metrics.memory_grew();
        }
        for _ in before.denials..now.denials {
            self.metrics.memory_grow_denied();
        }
        if now.bytes > before.bytes {
            self.board.journal().note(EventKind::Grown {
                from: before.bytes,
                to: now.bytes,
            });
        }
        self.reading.linear = now;
        let heap = self.instance.heap();
        self.reading.heap_live = heap.map(|h| h.live_bytes);
        self.reading.heap_peak = self
            .reading
            .heap_peak
            .max(self.reading.heap_live.unwrap_or(0));
        self.reading.profiler_bytes = heap.map_or(0, |h| h.profiler_bytes);
        let overflowed = heap.map_or(0, |h| h.overflowed);
        self.metrics
            .attribution_overflowed(overflowed.saturating_sub(self.reading.overflowed));
        self.reading.overflowed = overflowed;
        self.reading.linear_peak = self.reading.linear_peak.max(self.reading.linear.bytes);
    }

    fn publish(&mut self) {
        self.read_memory();
        self.board.publish(&self.reading);
        self.board.set_details(self.details.clone());
    }
}

/// Waits for a moment, if there is one to wait for.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Dropping a great many objects may take longer than a request may.
const CLEAR_DEADLINE: Duration = Duration::from_secs(10);
