//! The cheap handle that everybody holds: the way to the driver, and to what it has published.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use guest_heap::ContextCursor;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Details, Reading, not_running};
use super::driver::{
    Clearing, Command, HeapBooks, InvocationResult, Recycling, Replaced, Replacement, Resetting,
    Shared,
};
use super::error::PluginError;
use super::journal::Journal;
use super::loader::Loaded;
use super::round::Call;
use super::settings::Value;
use crate::telemetry::metrics::{InvocationOutcome, PluginHandles};

/// A loaded plugin.
#[derive(Debug)]
pub(crate) struct Plugin {
    id: String,
    life: u64,
    board: Arc<Board>,
    driver: Shared,
    metrics: Arc<PluginHandles>,
    ended: CancellationToken,
}

impl Plugin {
    /// A handle to the driver that publishes on `board`.
    pub(crate) fn new(
        id: String,
        life: u64,
        board: Arc<Board>,
        driver: Shared,
        metrics: Arc<PluginHandles>,
        ended: CancellationToken,
    ) -> Self {
        Plugin {
            id,
            life,
            board,
            driver,
            metrics,
            ended,
        }
    }

    /// Tells it from a plugin that had its id before: generations count from 1 in each life.
    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    /// Cancelled once the driver has ended and its instance is gone. Does not keep the driver alive.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Its name in URLs, metrics and panels.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether its leak is switched on.
    pub(crate) fn enabled(&self) -> bool {
        self.board.enabled()
    }

    /// The last published reading.
    pub(crate) fn reading(&self) -> Reading {
        self.board.reading()
    }

    /// What changes seldom.
    pub(crate) fn details(&self) -> Guard<Arc<Details>> {
        self.board.details()
    }

    /// What happened to it lately.
    pub(crate) fn journal(&self) -> &Journal {
        self.board.journal()
    }

    /// Has it handle requests, if it is free.
    ///
    /// # Errors
    ///
    /// The calls, when it is not.
    pub(crate) fn serve_now(
        &self,
        calls: Vec<Call>,
    ) -> Result<impl Future<Output = ()> + use<>, Vec<Call>> {
        self.driver.serve_now(calls)
    }

    /// Has it handle requests after what it has been given before. Those that are too many are answered at once, and so
    /// are all if it does not run; none is left then to be handled.
    pub(crate) fn serve_in_turn(
        &self,
        calls: Vec<Call>,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let running = not_running(&self.id, &self.details().state);
        if let Err(error) = running {
            self.refuse(calls, InvocationOutcome::Unavailable, &error);
            return None;
        }
        let (serving, refused) = self.driver.serve_in_turn(calls);
        let overloaded = PluginError::Overloaded(self.id.clone());
        self.refuse(refused, InvocationOutcome::Busy, &overloaded);
        serving
    }

    /// Counts and answers calls that never get to the guest.
    fn refuse(&self, calls: Vec<Call>, outcome: InvocationOutcome, error: &PluginError) {
        for call in calls {
            self.metrics.invoked(outcome, Duration::ZERO, None);
            call.answer(InvocationResult::Failed(error.to_string()));
        }
    }

    /// Switches the leak and changes settings: all or nothing. If they want another profile, it goes on with the component
    /// that has been `compiled` for it.
    ///
    /// # Errors
    ///
    /// What is wrong with a setting, or [`PluginError::NotRunning`] when the guest would have to be told.
    pub(crate) async fn switch(
        &self,
        enabled: Option<bool>,
        changes: Vec<(String, Value)>,
        compiled: Option<Loaded>,
    ) -> Result<(), PluginError> {
        self.ask(|reply| Command::Switch {
            enabled,
            changes,
            compiled: compiled.map(Box::new),
            reply,
        })
        .await?
    }

    /// Drops what the pattern holds, inside the guest.
    ///
    /// # Errors
    ///
    /// [`PluginError::NotRunning`], or [`PluginError::Failed`] when the guest did not survive it.
    pub(crate) async fn clear(&self) -> Result<Clearing, PluginError> {
        self.ask(|reply| Command::Clear { reply }).await?
    }

    /// Drops the instance and starts a fresh one; `everything` switches the leak off and puts all settings
    /// back too.
    ///
    /// # Errors
    ///
    /// [`PluginError::Failed`] when the fresh instance does not start.
    pub(crate) async fn reset(&self, everything: bool) -> Result<Resetting, PluginError> {
        self.ask(|reply| Command::Reset { everything, reply })
            .await?
    }

    /// Gives back the linear memory, if nothing is retained in it.
    ///
    /// # Errors
    ///
    /// Only when the plugin is being unloaded.
    pub(crate) async fn recycle(&self) -> Result<Recycling, PluginError> {
        self.ask(|reply| Command::Recycle { reply }).await
    }

    /// Goes on with another component of the same id; settings that still fit and the switch stay.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] when it does not survive being told its settings: the old one goes on.
    pub(crate) async fn replace(&self, replacement: Replacement) -> Result<Replaced, PluginError> {
        self.ask(|reply| Command::Replace {
            replacement: Box::new(replacement),
            reply,
        })
        .await?
    }

    /// Reads the books of its heap: all of them when `known` is of another instance.
    ///
    /// # Errors
    ///
    /// Only when the plugin is being unloaded.
    pub(crate) async fn books(
        &self,
        known: (u64, ContextCursor),
    ) -> Result<Option<HeapBooks>, PluginError> {
        self.ask(|reply| Command::Books { known, reply }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, PluginError> {
        let gone = || PluginError::Gone(self.id.clone());
        let (reply, answer) = oneshot::channel();
        self.driver.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}
