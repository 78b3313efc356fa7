//! The signals that end a run or a server with a report.

use anyhow::Result;

/// Who wants the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

/// Waits for Ctrl-C or SIGTERM. Signals count from the call of this function.
pub(crate) fn stopped() -> impl Future<Output = Result<Stop>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupts = signal(SignalKind::interrupt());
        let terminations = signal(SignalKind::terminate());
        async {
            let (mut interrupts, mut terminations) = (interrupts?, terminations?);
            Ok(tokio::select! {
                _ = interrupts.recv() => Stop::Interrupted,
                _ = terminations.recv() => Stop::Terminated,
            })
        }
    }
    #[cfg(not(unix))]
    async {
        tokio::signal::ctrl_c().await?;
        Ok(Stop::Interrupted)
    }
}
