//! The end of an instance: it is kept, so that its memory stays readable, and its call stack gets its source lines.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::Driver;
use crate::driver::journal::EventKind;
use crate::driver::published_state::{Failure, State};
use crate::error::{Fault, FaultKind, Frame, PluginError};
use crate::instance::backtrace;

impl Driver {
    /// Retires the instance, and says so to whoever had asked for something.
    pub(crate) fn failed(&mut self, fault: Fault) -> PluginError {
        PluginError::Failed {
            plugin: self.id().to_owned(),
            fault: self.retire(fault),
        }
    }

    /// Marks the instance as dead: from now on it is only read. Does not panic, since that is where panics lead.
    pub(crate) fn retire(&mut self, fault: Fault) -> Fault {
        let failure = Failure {
            at: Timestamp::now(),
            fault: fault.clone(),
        };
        self.details.state = State::after(fault.clone());
        self.details.last_failure = Some(Arc::new(failure));
        self.board.set_details(self.details.clone());
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.tell_of(&fault))).is_err() {
            tracing::error!(
                plugin = self.id(),
                "the host failed at what follows a fault; the plugin is retired all the same"
            );
        }
        fault
    }

    /// Says of what the instance died, and begins to look for where.
    fn tell_of(&mut self, fault: &Fault) {
        tracing::warn!(
            plugin = self.id(),
            reason = fault.reason,
            at = fault.backtrace.first().map(|f| f.function.as_str()),
            "plugin retired"
        );
        self.metrics.trapped(fault.kind.trap_reason());
        let reason = fault.reason.clone();
        self.board.journal().note(match &self.details.state {
            State::Exhausted(_) => EventKind::Exhausted { reason },
            _ => EventKind::Trapped { reason },
        });
        self.publish();
        let failure = self.details.last_failure.clone();
        if let Some(failure) = failure.filter(|_| !fault.backtrace.is_empty()) {
            let (loader, origin) = (self.loader.clone(), self.details.origin.clone());
            let frames = fault.backtrace.clone();
            let look_up = move || backtrace::explain(&loader, &origin, &frames);
            self.explaining = Some(Explaining {
                failed_at: failure.at,
                task: tokio::task::spawn_blocking(look_up),
            });
        }
    }

    /// Shows the source lines of a fault's call stack.
    pub(crate) fn show_backtrace(&mut self, explained: Explained) {
        let frames = match explained.frames {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(plugin = self.id(), %error, "no source lines for its call stack");
                return;
            }
        };
        let shown: Vec<String> = frames.iter().map(ToString::to_string).collect();
        tracing::warn!(
            plugin = self.id(),
            at = backtrace::blamed(&frames).map(ToString::to_string),
            backtrace = shown.join(" < "),
            "where it failed"
        );
        let last = self.details.last_failure.as_mut();
        let Some(failure) = last.filter(|failure| failure.at == explained.failed_at) else {
            // It has failed again meanwhile.
            return;
        };
        Arc::make_mut(failure).fault.backtrace.clone_from(&frames);
        if let State::Exhausted(fault) | State::Faulted(fault) = &mut self.details.state {
            fault.backtrace = frames;
        }
        self.publish();
    }
}

/// A fault's call stack, on its way to source lines.
#[derive(Debug)]
pub(crate) struct Explaining {
    failed_at: Timestamp,
    task: JoinHandle<Result<Vec<Frame>, PluginError>>,
}

/// A fault's call stack with its source lines.
#[derive(Debug)]
pub(crate) struct Explained {
    failed_at: Timestamp,
    frames: Result<Vec<Frame>, PluginError>,
}

/// Waits for a call stack that is being looked up, if one is.
pub(crate) async fn explained(looking: &mut Option<Explaining>) -> Explained {
    let Some(Explaining { failed_at, task }) = looking else {
        return std::future::pending().await;
    };
    let failed_at = *failed_at;
    let done = task.await;
    *looking = None;
    let lost = |e| Err(PluginError::Refused(format!("the look-up failed: {e}")));
    Explained {
        failed_at,
        frames: done.unwrap_or_else(lost),
    }
}

/// Work that may panic: then its plugin has failed, and the host goes on. An instance that was at work is not to be
/// called any more.
///
/// # Errors
///
/// A [`Fault`] with what the panic said.
pub(crate) async fn surviving<W: Future>(work: W) -> Result<W::Output, Fault> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|panic| Fault {
            kind: FaultKind::Host,
            reason: format!("the host failed at it: {}", said(&*panic)),
            backtrace: Vec::new(),
        })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_fault_of_the_one_who_was_at_it() {
        assert_eq!(surviving(async { 3 }).await, Ok(3));
        let (most, asked) = (2, 3);
        let fault = surviving(async {
            tokio::task::yield_now().await;
            assert!(asked <= most, "asked for {asked} of {most}");
        });
        let fault = fault.await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Host);
        assert_eq!(fault.reason, "the host failed at it: asked for 3 of 2");
        let silent = surviving(async { std::panic::panic_any(7) }).await;
        let silent: Fault = silent.map(|(): ()| ()).unwrap_err();
        assert!(silent.reason.ends_with("a panic without words"));
    }
}
