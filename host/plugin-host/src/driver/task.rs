//! The driver's task: it carries out commands, disables an expired leak, and publishes source
//! lines.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, Notify, mpsc};

use crate::driver::catch_panic::catch_panic;
use crate::driver::pending_backtrace::{SymbolizedBacktrace, symbolized};
use crate::driver::{Command, Driver};

/// Why the task woke up.
enum Wakeup {
    /// The leak's time to live is over.
    Expired,
    /// A call left a backtrace to symbolize.
    BacktracePending,
    /// The source lines of the last fault's call stack were read.
    Symbolized(SymbolizedBacktrace),
    /// A command arrived; more may be in the mailbox.
    Command(Command),
}

/// Runs until the mailbox is empty and has no senders. `backtrace_pending` is notified when a call
/// left a backtrace.
///
/// Many calls may wait for the driver before this task. So when it has the driver, it carries out
/// every command in the mailbox.
pub(super) async fn run(
    driver: Arc<Mutex<Driver>>,
    backtrace_pending: Arc<Notify>,
    mut mailbox: mpsc::Receiver<Command>,
) {
    let (mut expiry, mut pending) = (None, None);
    loop {
        let wakeup = tokio::select! {
            biased;
            () = sleep_until(expiry) => Wakeup::Expired,
            () = backtrace_pending.notified() => Wakeup::BacktracePending,
            symbolized = symbolized(&mut pending) => Wakeup::Symbolized(symbolized),
            command = mailbox.recv() => match command {
                Some(command) => Wakeup::Command(command),
                None => return,
            },
        };
        let mut driver = driver.lock().await;
        // After a panic the client gets no answer; the plugin's status has the reason.
        if let Err(fault) = catch_panic(driver.handle(wakeup, &mut mailbox)).await {
            driver.retire(fault);
        }
        expiry = driver.expiry;
        pending = driver.pending_backtrace.take().or(pending);
    }
}

/// Sleeps until a point in time, or forever.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    async fn handle(&mut self, wakeup: Wakeup, mailbox: &mut mpsc::Receiver<Command>) {
        match wakeup {
            Wakeup::Expired => {
                self.set_enabled(false);
                tracing::info!(plugin = self.id(), "disabled: its time to live is over");
            }
            Wakeup::BacktracePending => {}
            Wakeup::Symbolized(symbolized) => self.show_backtrace(symbolized),
            Wakeup::Command(command) => {
                let mut next = Some(command);
                while let Some(command) = next {
                    self.handle_command(command).await;
                    next = mailbox.try_recv().ok();
                }
            }
        }
    }

    /// Carries out a command and sends the answer. If the client is gone, the answer is dropped.
    async fn handle_command(&mut self, command: Command) {
        match command {
            Command::Update {
                enabled,
                changes,
                compiled,
                reply,
            } => drop(reply.send(self.update(enabled, changes, compiled).await)),
            Command::Clear { reply } => drop(reply.send(self.clear().await)),
            Command::Reset { everything, reply } => drop(reply.send(self.reset(everything).await)),
            // The sampler reads every second and gives up when the answer takes too long.
            Command::HeapTables { reply, .. } if reply.is_closed() => {}
            Command::HeapTables { known, reply } => drop(reply.send(self.heap_tables(known))),
            Command::Recycle { reply } => drop(reply.send(self.recycle().await)),
            Command::Replace { started, reply } => {
                drop(reply.send(self.replace(*started).await));
            }
        }
    }
}
