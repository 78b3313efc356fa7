//! The tasks that export telemetry, and their bounded end.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The longest time that the end of the service waits for the last exports.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Owns the tasks. Dropping it aborts them, and the queued spans are lost.
#[derive(Debug, Default)]
pub(crate) struct ExportTasks {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl ExportTasks {
    /// Spawns a task within a Tokio runtime. The task must export what it has and end on the token.
    pub(crate) fn spawn<T>(&mut self, task: impl FnOnce(CancellationToken) -> T)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task(self.stop.clone()));
    }

    /// Stops the tasks. Returns whether all of them ended within [`FLUSH_TIMEOUT`].
    pub(crate) async fn flush(mut self) -> bool {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        timeout(FLUSH_TIMEOUT, ended).await.is_ok()
    }
}
