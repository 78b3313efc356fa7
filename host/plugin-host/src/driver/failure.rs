//! Panics as faults, and source lines for the call stack of a fault.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use guest_heap::symbols::Symbols;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::error::{Fault, FaultKind, Frame, PluginError};
use crate::instance::backtrace::{symbol_options, symbolize};
use crate::load::loader::{ComponentSource, Loader};

/// A fault's call stack while a blocking thread reads its symbols.
#[derive(Debug)]
pub(crate) struct PendingBacktrace {
    failed_at: Timestamp,
    task: JoinHandle<Result<Vec<Frame>, PluginError>>,
}

/// A fault's call stack with source lines.
#[derive(Debug)]
pub(crate) struct SymbolizedBacktrace {
    /// Identifies the fault.
    pub(crate) failed_at: Timestamp,
    pub(crate) frames: Result<Vec<Frame>, PluginError>,
}

impl PendingBacktrace {
    /// Starts to read the symbols of a component. They are dropped after this one backtrace.
    pub(crate) fn start(
        failed_at: Timestamp,
        frames: Vec<Frame>,
        loader: Loader,
        source: Arc<ComponentSource>,
    ) -> Self {
        let look_up = move || {
            let component = loader.original(&source)?;
            let symbols = Symbols::new(&component, symbol_options())
                .map_err(|e| PluginError::Refused(format!("its symbols cannot be read: {e}")))?;
            Ok(symbolize(&symbols, &frames))
        };
        PendingBacktrace {
            failed_at,
            task: tokio::task::spawn_blocking(look_up),
        }
    }
}

/// Waits for a pending backtrace and takes it; waits forever when there is none. Cancel-safe.
pub(crate) async fn symbolized(pending: &mut Option<PendingBacktrace>) -> SymbolizedBacktrace {
    let Some(PendingBacktrace { failed_at, task }) = pending else {
        return std::future::pending().await;
    };
    let failed_at = *failed_at;
    let done = task.await;
    *pending = None;
    let lost = |e| Err(PluginError::Internal(format!("the symbol look-up: {e}")));
    SymbolizedBacktrace {
        failed_at,
        frames: done.unwrap_or_else(lost),
    }
}

/// Runs work that may panic. A panic fails the plugin, and the host goes on. The caller retires the
/// instance: it was in use during the panic.
///
/// # Errors
///
/// A [`Fault`] with the panic's message.
pub(crate) async fn catch_panic<W: Future>(work: W) -> Result<W::Output, Fault> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|panic| Fault {
            kind: FaultKind::Host,
            reason: format!("the host panicked: {}", message(&*panic)),
            backtrace: Vec::new(),
        })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_fault() {
        assert_eq!(catch_panic(async { 3 }).await, Ok(3));
        let (limit, requested) = (2, 3);
        let fault = catch_panic(async {
            tokio::task::yield_now().await;
            assert!(requested <= limit, "requested {requested} of {limit}");
        });
        let fault = fault.await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Host);
        assert_eq!(fault.reason, "the host panicked: requested 3 of 2");
        let silent = catch_panic(async { std::panic::panic_any(7) }).await;
        let silent: Fault = silent.map(|(): ()| ()).unwrap_err();
        assert!(silent.reason.ends_with("a panic without a message"));
    }
}
