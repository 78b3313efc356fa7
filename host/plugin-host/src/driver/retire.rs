//! The end of an instance: the host retires it, and shows where it failed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use jiff::Timestamp;

use crate::driver::Driver;
use crate::driver::journal::EventKind;
use crate::driver::pending_backtrace::{PendingBacktrace, SymbolizedBacktrace};
use crate::driver::published_state::{Failure, RunState};
use crate::error::{Fault, Frame, PluginError};
use crate::instance::backtrace;

impl Driver {
    /// Retires the instance and returns the error for the client whose command failed.
    pub(crate) fn failed(&mut self, fault: Fault) -> PluginError {
        PluginError::Failed {
            plugin: self.id().to_owned(),
            fault: self.retire(fault),
        }
    }

    /// Retires the instance: from now on the host only reads it. Does not panic, because panics
    /// lead here.
    pub(crate) fn retire(&mut self, fault: Fault) -> Fault {
        let failure = Failure {
            at: Timestamp::now(),
            fault: fault.clone(),
        };
        self.details.state = RunState::after(fault.clone());
        self.details.last_failure = Some(Arc::new(failure));
        self.published.set_details(self.details.clone());
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.report(&fault))).is_err() {
            tracing::error!(
                plugin = self.id(),
                "the host panicked while it reported a fault; the plugin is retired"
            );
        }
        fault
    }

    /// Reports a fault to log, metrics and journal, and starts to read its source lines.
    fn report(&mut self, fault: &Fault) {
        let is_masked = self.details.manifest.is_masked;
        let first = fault.backtrace.first().filter(|_| !is_masked);
        tracing::warn!(
            plugin = self.id(),
            reason = fault.reason,
            at = first.map(|f| f.function.as_str()),
            "plugin retired"
        );
        self.metrics.trapped(fault.kind.trap_reason());
        let reason = fault.reason.clone();
        self.published.journal().record(match &self.details.state {
            RunState::Exhausted(_) => EventKind::Exhausted { reason },
            _ => EventKind::Trapped { reason },
        });
        self.publish();
        let failure = self.details.last_failure.as_ref();
        if let Some(failure) = failure.filter(|_| !fault.backtrace.is_empty()) {
            self.pending_backtrace = Some(PendingBacktrace::start(
                failure.at,
                fault.backtrace.clone(),
                self.loader.clone(),
                self.details.source.clone(),
            ));
        }
    }

    /// Publishes the source lines of a fault's call stack.
    pub(crate) fn show_backtrace(&mut self, symbolized: SymbolizedBacktrace) {
        let frames = match symbolized.frames {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(plugin = self.id(), %error, "no source lines for its call stack");
                return;
            }
        };
        if !self.details.manifest.is_masked {
            self.log_backtrace(&frames);
        }
        let last = self.details.last_failure.as_mut();
        let Some(failure) = last.filter(|failure| failure.at == symbolized.failed_at) else {
            // It has failed again meanwhile.
            return;
        };
        Arc::make_mut(failure).fault.backtrace.clone_from(&frames);
        if let RunState::Exhausted(fault) | RunState::Faulted(fault) = &mut self.details.state {
            fault.backtrace = frames;
        }
        self.publish();
    }

    fn log_backtrace(&self, frames: &[Frame]) {
        let shown: Vec<String> = frames.iter().map(ToString::to_string).collect();
        tracing::warn!(
            plugin = self.id(),
            at = backtrace::blamed(frames).map(ToString::to_string),
            backtrace = shown.join(" < "),
            "where it failed"
        );
    }
}
