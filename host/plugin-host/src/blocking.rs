//! Blocking work (files, compilation, symbols), off the async threads.

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::error::PluginError;

/// Starts blocking work on a thread of its own at once; the returned future waits for its result.
/// The work runs to its end even if the future is dropped.
///
/// # Errors
///
/// The error of the work; [`PluginError::Internal`] when it panics.
pub fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PluginError> + Send + 'static,
) -> impl Future<Output = Result<T, PluginError>> {
    let running = tokio::task::spawn_blocking(work);
    async move {
        let lost = |error| Err(PluginError::Internal(format!("blocking work: {error}")));
        running.await.unwrap_or_else(lost)
    }
}

/// Runs a future on a thread of its own. For work that may keep its thread for long between two
/// awaits, such as the calls of a guest. Dropping the returned future cancels the work at its next
/// await.
///
/// # Errors
///
/// [`PluginError::Internal`] when the work panics.
pub(crate) async fn on_own_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, PluginError> {
    let cancelled = CancellationToken::new();
    let _cancel_when_dropped = cancelled.clone().drop_guard();
    let runtime = Handle::current();
    let running = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => None,
                result = work => Some(result),
            }
        })
    });
    let result = running.await;
    let result = result.map_err(|e| PluginError::Internal(format!("work on a thread: {e}")))?;
    result.ok_or_else(|| PluginError::Internal("work on a thread was cancelled".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_blocking_work_is_an_internal_failure() {
        assert_eq!(run_blocking(|| Ok(3)).await.unwrap(), 3);
        let refused = run_blocking(|| Err::<(), _>(PluginError::Refused("no".into())));
        assert!(matches!(refused.await, Err(PluginError::Refused(_))));
        let panicked = run_blocking(|| -> Result<(), _> { panic!("a bug") });
        assert!(matches!(panicked.await, Err(PluginError::Internal(_))));
    }
}
