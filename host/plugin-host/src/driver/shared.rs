//! Who may have the driver: its task, which takes commands from the mailbox, or whoever makes the calls of requests.
//!
//! First come, first served. A call, once begun, is made to its end, whatever becomes of the request; one that has waited
//! for longer than its request does is not begun. So nobody waits for the driver for longer than that, and two calls.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc};
use tokio_util::task::TaskTracker;

use super::{Command, Driver, InvocationResult, at, failure};
use crate::dispatch::fan_out::Call;

/// Commands that may wait for one plugin before whoever sends one has to wait, too.
const MAILBOX: usize = 64;

/// Calls that may wait for a plugin that is busy. At some 10 µs a call, that is 20 ms of work; those that wait for a slow
/// plugin grow too old.
const WAITING: usize = 2048;

/// A driver that one task has at a time, first come, first served.
pub struct Shared {
    driver: Arc<Mutex<Driver>>,
    mailbox: mpsc::Sender<Command>,
    /// A call left something behind that the driver's task has to wait for.
    left: Arc<Notify>,
    room: Arc<Room>,
}

/// Calls that wait for the driver.
#[derive(Debug, Default)]
struct Room(AtomicUsize);

impl Room {
    /// Places for so many of the calls that want one.
    fn take(&self, wanted: usize) -> usize {
        let before = self.0.fetch_add(wanted, Ordering::Relaxed);
        let given = WAITING.saturating_sub(before).min(wanted);
        self.give_back(wanted - given);
        given
    }

    fn give_back(&self, places: usize) {
        self.0.fetch_sub(places, Ordering::Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Starts the driver's task. It ends when the mailbox is empty and nobody can write to it.
    pub(super) fn start(driver: Driver, tasks: &TaskTracker) -> Self {
        let driver = Arc::new(Mutex::new(driver));
        let left = Arc::default();
        let (mailbox, commands) = mpsc::channel(MAILBOX);
        tasks.spawn(run(driver.clone(), Arc::clone(&left), commands));
        Shared {
            driver,
            mailbox,
            left,
            room: Arc::default(),
        }
    }

    /// Puts a command into the mailbox, when there is room.
    ///
    /// # Errors
    ///
    /// Only when the driver's task has ended.
    pub async fn send(&self, command: Command) -> Result<(), SendError<Command>> {
        self.mailbox.send(command).await
    }

    /// Makes calls with a driver that is free.
    ///
    /// # Errors
    ///
    /// The calls, when somebody has it.
    pub(crate) fn serve_now(
        &self,
        calls: Vec<Call>,
    ) -> Result<impl Future<Output = ()> + use<>, Vec<Call>> {
        match self.driver.clone().try_lock_owned() {
            Ok(driver) => Ok(serve(driver, self.left.clone(), calls, Instant::now())),
            Err(_) => Err(calls),
        }
    }

    /// Makes calls when everything that came before is done. The other calls are those that find no room among those
    /// that wait; if no call does, nothing waits.
    pub(crate) fn serve_in_turn(
        &self,
        mut calls: Vec<Call>,
    ) -> (Option<impl Future<Output = ()> + use<>>, Vec<Call>) {
        let refused = calls.split_off(self.room.take(calls.len()));
        if calls.is_empty() {
            return (None, refused);
        }
        let (driver, left, room) = (self.driver.clone(), self.left.clone(), self.room.clone());
        let in_turn = Instant::now();
        let serving = async move {
            let driver = driver.lock_owned().await;
            room.give_back(calls.len());
            serve(driver, left, calls, in_turn).await;
        };
        (Some(serving), refused)
    }
}

/// Makes calls that wait since `in_turn`, one after the other, and gives the driver back.
async fn serve(
    mut driver: OwnedMutexGuard<Driver>,
    left: Arc<Notify>,
    calls: Vec<Call>,
    in_turn: Instant,
) {
    for call in calls {
        let result = {
            // In its place from the start: it is large.
            let invoking = driver.invoke(&call, in_turn);
            let invoking = pin!(failure::surviving(invoking));
            call.trace().with_trace_id(invoking).await
        };
        call.answer(result.unwrap_or_else(|fault| {
            let outcome = fault.kind.outcome();
            driver.metrics.invoked(outcome, Duration::ZERO, None);
            InvocationResult::Failed(driver.retire(fault).to_string())
        }));
    }
    if driver.explaining.is_some() {
        left.notify_one();
    }
}

/// What the driver's task has to do.
enum Duty {
    /// The leak's time to live is over.
    Expire,
    /// A call left something behind.
    Look,
    /// The last fault's call stack has its source lines.
    Explain(failure::Explained),
    /// A command, and those behind it.
    Obey(Command),
}

/// The driver's task. While many calls wait, so does this: it does all that there is to do at each turn.
async fn run(driver: Arc<Mutex<Driver>>, left: Arc<Notify>, mut commands: mpsc::Receiver<Command>) {
    let (mut expiry, mut explaining) = (None, None);
    loop {
        let duty = tokio::select! {
            biased;
            () = at(expiry) => Duty::Expire,
            () = left.notified() => Duty::Look,
            explained = failure::explained(&mut explaining) => Duty::Explain(explained),
            command = commands.recv() => match command {
                Some(command) => Duty::Obey(command),
                None => return,
            },
        };
        let mut driver = driver.lock().await;
        // Whoever sent the command learns nothing but that there is no answer; the status says why.
        if let Err(fault) = failure::surviving(driver.perform(duty, &mut commands)).await {
            driver.retire(fault);
        }
        expiry = driver.expiry;
        explaining = driver.explaining.take().or(explaining);
    }
}

impl Driver {
    async fn perform(&mut self, duty: Duty, commands: &mut mpsc::Receiver<Command>) {
        match duty {
            Duty::Expire => {
                self.set_enabled(false);
                tracing::info!(plugin = self.id(), "disabled: its time to live is over");
            }
            Duty::Look => {}
            Duty::Explain(explained) => self.show_backtrace(explained),
            Duty::Obey(command) => {
                let mut next = Some(command);
                while let Some(command) = next {
                    self.obey(command).await;
                    next = commands.try_recv().ok();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let room = Room::default();
        assert_eq!(room.take(WAITING - 3), WAITING - 3);
        assert_eq!(room.take(5), 3);
        assert_eq!(room.take(5), 0);
        room.give_back(WAITING - 3);
        assert_eq!(room.take(1), 1);
        room.give_back(4);
        assert_eq!(room.take(WAITING + 1), WAITING);
    }
}
