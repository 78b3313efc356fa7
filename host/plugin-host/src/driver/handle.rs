//! The handle of a loaded plugin: its published state, its mailbox and its lock.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use guest_heap::ContextCursor;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::driver::call_limit::CallLimit;
use crate::driver::journal::Journal;
use crate::driver::published_state::{PluginDetails, PluginReading, PublishedState};
use crate::driver::task;
use crate::driver::{
    ClearOutcome, Command, Driver, PluginHeapTables, RecycleOutcome, ReplaceOutcome, ResetOutcome,
};
use crate::error::PluginError;
use crate::load::loader::{CompiledComponent, Loader};
use crate::load::started_plugin::StartedPlugin;
use crate::metrics::PluginSeries;
use crate::settings::{Defaults, Value};

/// The most commands in the mailbox of one plugin. A sender waits for a place.
const MAX_MAILBOX_COMMANDS: usize = 64;

/// How long a command that starts a fresh instance waits for a plugin that was given up. A guest
/// within one instruction comes back after some seconds.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);

/// A loaded plugin.
pub struct Plugin {
    id: String,
    incarnation: u64,
    published: Arc<PublishedState>,
    driver: Arc<Mutex<Driver>>,
    mailbox: mpsc::Sender<Command>,
    backtrace_pending: Arc<Notify>,
    pub(crate) call_limit: Arc<CallLimit>,
    pub(crate) metrics: Arc<PluginSeries>,
    ended: CancellationToken,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("id", &self.id)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

/// The lock of a driver, for the calls of requests.
pub(crate) struct DriverGuard {
    driver: OwnedMutexGuard<Driver>,
    backtrace_pending: Arc<Notify>,
}

impl Deref for DriverGuard {
    type Target = Driver;

    fn deref(&self) -> &Driver {
        &self.driver
    }
}

impl DerefMut for DriverGuard {
    fn deref_mut(&mut self) -> &mut Driver {
        &mut self.driver
    }
}

impl Drop for DriverGuard {
    fn drop(&mut self) {
        if self.driver.has_pending_backtrace() {
            self.backtrace_pending.notify_one();
        }
    }
}

impl Plugin {
    /// Starts the driver of a plugin on `tasks`. It ends when the handle is dropped and the mailbox
    /// is empty. `incarnation` distinguishes the plugin from earlier plugins with the same id.
    pub(crate) fn spawn(
        started: StartedPlugin,
        incarnation: u64,
        defaults: Defaults,
        loader: Loader,
        metrics: Arc<PluginSeries>,
        tasks: &TaskTracker,
    ) -> Arc<Plugin> {
        let ended = CancellationToken::new();
        let drop_guard = ended.clone().drop_guard();
        let driver = Driver::new(started, defaults, loader, metrics.clone(), drop_guard);
        let id = driver.id().to_owned();
        let published = driver.published.clone();
        let driver = Arc::new(Mutex::new(driver));
        let backtrace_pending = Arc::new(Notify::new());
        let (mailbox, commands) = mpsc::channel(MAX_MAILBOX_COMMANDS);
        tasks.spawn(task::run(
            driver.clone(),
            backtrace_pending.clone(),
            commands,
        ));
        Arc::new(Plugin {
            id,
            incarnation,
            published,
            driver,
            mailbox,
            backtrace_pending,
            call_limit: Arc::default(),
            metrics,
            ended,
        })
    }

    /// Distinguishes this plugin from earlier plugins with the same id. Generations count from 1 in
    /// each incarnation.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Cancelled once the driver has ended and its instance is dropped. The token does not keep the
    /// driver alive.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Its name in URLs, metrics and panels.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether its leak is enabled.
    pub fn enabled(&self) -> bool {
        self.published.enabled()
    }

    /// Whether requests reach its leak: it is enabled, and its schedule has it on.
    pub fn active(&self) -> bool {
        self.published.active()
    }

    /// The last published reading.
    pub fn reading(&self) -> PluginReading {
        self.published.reading()
    }

    /// The properties that rarely change.
    pub fn details(&self) -> Guard<Arc<PluginDetails>> {
        self.published.details()
    }

    /// Its recent events.
    pub fn journal(&self) -> &Journal {
        self.published.journal()
    }

    /// Whether the plugin itself makes requests wait, and not the machine.
    pub(crate) fn is_slow(&self) -> bool {
        self.published.is_slow()
    }

    /// Whether the driver is free. A busy driver is only read.
    pub(crate) fn is_free(&self) -> bool {
        self.driver.try_lock().is_ok()
    }

    /// Locks the driver if it is free.
    pub(crate) fn try_lock(&self) -> Option<DriverGuard> {
        let driver = self.driver.clone().try_lock_owned().ok()?;
        Some(DriverGuard {
            driver,
            backtrace_pending: self.backtrace_pending.clone(),
        })
    }

    /// Locks the driver after everything that already waits for it. The future does not keep the
    /// handle alive.
    pub(crate) fn lock(&self) -> impl Future<Output = DriverGuard> + use<> {
        let driver = self.driver.clone();
        let backtrace_pending = self.backtrace_pending.clone();
        async move {
            DriverGuard {
                driver: driver.lock_owned().await,
                backtrace_pending,
            }
        }
    }

    /// Enables or disables the leak and changes settings: all or nothing. `compiled` is the
    /// component for a changed heap profile.
    ///
    /// # Errors
    ///
    /// A refused setting, or [`PluginError::NotRunning`] when the guest would have to be called.
    pub(crate) async fn update(
        &self,
        enabled: Option<bool>,
        changes: Vec<(String, Value)>,
        compiled: Option<CompiledComponent>,
    ) -> Result<(), PluginError> {
        self.ask(Duration::ZERO, |reply| Command::Update {
            enabled,
            changes,
            compiled: compiled.map(Box::new),
            reply,
        })
        .await?
    }

    /// Drops what the pattern retains, inside the guest.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotRunning`], also when the guest does not come back; [`PluginError::Failed`]
    /// when it did not survive it.
    pub async fn clear(&self) -> Result<ClearOutcome, PluginError> {
        self.ask(Duration::ZERO, |reply| Command::Clear { reply })
            .await?
    }

    /// Drops the instance and starts a fresh one. `everything` disables the leak and resets all
    /// settings too.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotStarted`] when the fresh instance does not start.
    pub async fn reset(&self, everything: bool) -> Result<ResetOutcome, PluginError> {
        self.ask(RESTART_PATIENCE, |reply| Command::Reset {
            everything,
            reply,
        })
        .await?
    }

    /// Gives linear memory back, if the plugin retains nothing.
    ///
    /// # Errors
    ///
    /// [`PluginError::Gone`] while the plugin is being unloaded.
    pub async fn recycle(&self) -> Result<RecycleOutcome, PluginError> {
        self.ask(Duration::ZERO, |reply| Command::Recycle { reply })
            .await
    }

    /// Goes on with another component of the same id. The switch keeps its state, and so do the
    /// settings whose values the new component accepts.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when the new component does not survive its configuration. The old
    /// one goes on.
    pub(crate) async fn replace(
        &self,
        started: StartedPlugin,
    ) -> Result<ReplaceOutcome, PluginError> {
        self.ask(RESTART_PATIENCE, |reply| Command::Replace {
            started: Box::new(started),
            reply,
        })
        .await?
    }

    /// Reads the heap tables; `None` without attribution. `known` is the generation of the last
    /// read and the contexts that it returned: the answer has only new contexts, or all of them
    /// when the generation has changed.
    ///
    /// # Errors
    ///
    /// [`PluginError::Gone`] while the plugin is being unloaded.
    pub async fn heap_tables(
        &self,
        known: (u64, ContextCursor),
    ) -> Result<Option<PluginHeapTables>, PluginError> {
        self.ask(Duration::ZERO, |reply| Command::HeapTables { known, reply })
            .await
    }

    /// Sends a command and waits for its answer. If the plugin is given up, it waits for another
    /// `patience`.
    async fn ask<T>(
        &self,
        patience: Duration,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, PluginError> {
        let gone = || PluginError::Gone(self.id.clone());
        let (reply, answer) = oneshot::channel();
        let asking = async {
            let sent = self.mailbox.send(command(reply)).await;
            sent.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())
        };
        let given_up = async {
            self.published.given_up().await;
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            biased;
            answer = asking => answer,
            // The driver does not answer before its call comes back.
            () = given_up => {
                let state = &self.details().state;
                state.ensure_running(&self.id).and_then(|()| Err(gone()))
            }
        }
    }
}
