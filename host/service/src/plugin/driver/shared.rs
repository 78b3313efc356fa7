//! Who may have the driver: its task, which takes commands from the mailbox, or the task of a request, if the driver is
//! free and nothing waits for it.
//!
//! A call takes some microseconds, and waking another task for it takes longer than that. So a request's task makes the
//! call itself, up to the first point at which the guest has to wait; from there on a task of its own has it, since a
//! request may be given up at any time and a call may not.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc, oneshot};
use tokio_util::sync::ReusableBoxFuture;
use tokio_util::task::TaskTracker;

use super::{Command, Driver, Invocation, at, failure};
use crate::plugin::request::Request;
use crate::telemetry::context::TraceContext;

/// Calls that may wait for one plugin. At some 10 µs a call, a full mailbox is 20 ms of work.
const MAILBOX: usize = 2048;

/// A driver that one task has at a time, first come, first served.
pub(crate) struct Shared {
    driver: Arc<Mutex<Driver>>,
    mailbox: mpsc::Sender<Command>,
    /// A call left something behind that the driver's task has to wait for.
    left: Arc<Notify>,
    tasks: TaskTracker,
}

/// A call that is under way, with the driver that it has.
pub(super) type Call = ReusableBoxFuture<'static, (Invocation, OwnedMutexGuard<Driver>)>;

/// An answer that is there or will be.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is there.
    Now(Invocation),
    /// It will come; never if the plugin is unloaded before.
    Later(oneshot::Receiver<Invocation>),
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
            tasks: tasks.clone(),
        }
    }

    /// Puts a command into the mailbox, when there is room.
    ///
    /// # Errors
    ///
    /// Only when the driver's task has ended.
    pub(crate) async fn send(&self, command: Command) -> Result<(), SendError<Command>> {
        self.mailbox.send(command).await
    }

    /// Puts a command into the mailbox, if there is room.
    ///
    /// # Errors
    ///
    /// When there is none, or when the driver's task has ended.
    pub(crate) fn try_send(&self, command: Command) -> Result<(), TrySendError<()>> {
        self.mailbox.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => TrySendError::Full(()),
            TrySendError::Closed(_) => TrySendError::Closed(()),
        })
    }

    /// Makes a call on the task that asks for it; none when another task has the driver, or something waits for it.
    pub(crate) fn try_invoke(
        &self,
        request: &Arc<Request>,
        trace: &TraceContext,
        context: &mut Context<'_>,
    ) -> Option<Answer> {
        if self.mailbox.capacity() < MAILBOX {
            return None;
        }
        let mut driver = self.driver.clone().try_lock_owned().ok()?;
        let spare = driver.spare.take();
        let call = invoke(driver, request.clone(), trace.clone());
        let mut call = match spare {
            Some(mut spare) => {
                spare.set(call);
                spare
            }
            None => ReusableBoxFuture::new(call),
        };
        Some(match call.poll(context) {
            Poll::Ready((invocation, mut driver)) => {
                driver.spare = Some(call);
                if driver.explaining.is_some() {
                    self.left.notify_one();
                }
                Answer::Now(invocation)
            }
            Poll::Pending => Answer::Later(self.go_on(call, trace)),
        })
    }

    /// Goes on with a call on a task of its own, whatever becomes of the request.
    fn go_on(&self, call: Call, trace: &TraceContext) -> oneshot::Receiver<Invocation> {
        let (reply, answer) = oneshot::channel();
        let left = self.left.clone();
        self.tasks.spawn(trace.log(async move {
            let (invocation, driver) = call.await;
            if driver.explaining.is_some() {
                left.notify_one();
            }
            drop(driver);
            drop(reply.send(invocation));
        }));
        answer
    }
}

/// Makes a call and gives the driver back.
async fn invoke(
    mut driver: OwnedMutexGuard<Driver>,
    request: Arc<Request>,
    trace: TraceContext,
) -> (Invocation, OwnedMutexGuard<Driver>) {
    let invocation = driver.invoke(&request, &trace, Duration::ZERO).await;
    (invocation, driver)
}

/// The driver's task.
async fn run(driver: Arc<Mutex<Driver>>, left: Arc<Notify>, mut commands: mpsc::Receiver<Command>) {
    let mut explaining = None;
    loop {
        let expiry = {
            let mut driver = driver.lock().await;
            explaining = driver.explaining.take().or(explaining);
            driver.expiry
        };
        let command = tokio::select! {
            biased;
            () = at(expiry) => {
                let mut driver = driver.lock().await;
                driver.set_enabled(false);
                tracing::info!(plugin = driver.id(), "disabled: its time to live is over");
                continue;
            }
            () = left.notified() => continue,
            explained = failure::explained(&mut explaining) => {
                driver.lock().await.show_backtrace(explained);
                continue;
            }
            command = commands.recv() => command,
        };
        let Some(command) = command else { return };
        driver.lock().await.obey(command).await;
    }
}
