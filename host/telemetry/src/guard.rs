//! Ends telemetry in an orderly way: what is left goes out, but nobody waits for a collector that is
//! away.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The longest that the end of the service waits for its last telemetry.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Owns the tasks that send. Dropping it ends them at once, unsent spans and all.
#[derive(Debug, Default)]
pub(crate) struct TelemetryGuard {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl TelemetryGuard {
    /// The signal that a sending task ends on.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a sending task; within a Tokio runtime.
    pub(super) fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Tells the tasks to send what they have and waits for at most [`FLUSH_TIMEOUT`]; answers whether
    /// they were done by then.
    pub(crate) async fn flush(mut self) -> bool {
        self.stop.cancel();
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        timeout(FLUSH_TIMEOUT, finished).await.is_ok()
    }
}
