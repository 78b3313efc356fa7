//! Source lines for the call stack of a fault, read on a blocking thread.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::error::{Frame, PluginError};
use crate::instance::backtrace::symbolize;
use crate::load::component_source::ComponentSource;
use crate::load::loader::Loader;

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
            let symbols = loader.read_symbols(&loader.original(&source)?)?;
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
