//! The driver's task: it carries out commands, disables an expired leak, follows its schedule, and
//! publishes source lines.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc};
use tokio::time::Instant;

use crate::blocking::on_own_thread;
use crate::driver::catch_panic::catch_panic;
use crate::driver::pending_backtrace::{SymbolizedBacktrace, symbolized};
use crate::driver::watch::watch;
use crate::driver::{Command, Driver};

/// Why the task woke up.
enum Wakeup {
    /// The leak's time to live is over.
    Expired,
    /// The leak's schedule makes it active or inactive.
    Scheduled,
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
    let (mut expiry, mut next_change, mut pending) = (None, None, None);
    loop {
        let wakeup = tokio::select! {
            biased;
            () = sleep_until(expiry) => Wakeup::Expired,
            () = sleep_until(next_change) => Wakeup::Scheduled,
            () = backtrace_pending.notified() => Wakeup::BacktracePending,
            symbolized = symbolized(&mut pending) => Wakeup::Symbolized(symbolized),
            command = mailbox.recv() => match command {
                Some(command) => Wakeup::Command(command),
                None => return,
            },
        };
        let mut driver = driver.clone().lock_owned().await;
        let commands = match wakeup {
            Wakeup::Expired => {
                driver.expire();
                Vec::new()
            }
            Wakeup::Scheduled => {
                driver.follow_schedule();
                Vec::new()
            }
            Wakeup::BacktracePending => Vec::new(),
            Wakeup::Symbolized(symbolized) => {
                driver.show_backtrace(symbolized);
                Vec::new()
            }
            Wakeup::Command(command) => {
                let more = std::iter::from_fn(|| mailbox.try_recv().ok());
                std::iter::once(command).chain(more).collect()
            }
        };
        let mut driver = if commands.iter().any(Command::calls_guest) {
            let published = driver.published.clone();
            // A guest that waits in the host may take longer; nobody waits for that.
            let limit = || published.command_deadline().map(|limit| (limit, limit));
            let handling = on_own_thread(handle_commands(driver, commands));
            match watch(&published, limit, handling).await {
                Ok(driver) => driver,
                // The host is stopping.
                Err(_) => return,
            }
        } else {
            handle_commands(driver, commands).await
        };
        expiry = driver.expiry.map(Instant::from);
        next_change = driver.next_change();
        pending = driver.pending_backtrace.take().or(pending);
    }
}

/// Carries out commands. After a panic the client gets no answer; the plugin's status has the
/// reason.
async fn handle_commands(
    mut driver: OwnedMutexGuard<Driver>,
    commands: Vec<Command>,
) -> OwnedMutexGuard<Driver> {
    for command in commands {
        if let Err(fault) = catch_panic(driver.handle_command(command)).await {
            driver.retire(fault);
        }
        if driver.published.take_given_up() {
            // A fresh instance did not start in time: the state of the old one counts.
            driver.publish();
        }
    }
    driver
}

/// Sleeps until a point in time, or forever.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// Disables the leak after its time to live.
    fn expire(&mut self) {
        self.set_enabled(false);
        tracing::info!(plugin = self.id(), "disabled: its time to live is over");
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
