//! The one loop that waits until the host has reached a state.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The timeout for a state that the host normally reaches within a second or two. A machine that is
/// busy with other work needs more.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Calls `check` until it returns a value. Panics after `timeout` and shows the last error.
pub(crate) async fn wait_for<T, E: Display>(
    what: &str,
    timeout: Duration,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let started = Instant::now();
    loop {
        let last = match check().await {
            Ok(value) => return value,
            Err(last) => last,
        };
        assert!(
            started.elapsed() < timeout,
            "{what}: not within {timeout:?}, last seen: {last}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Calls `holds` until it returns true. Panics after `timeout`.
pub(crate) async fn wait_until(
    what: &str,
    timeout: Duration,
    mut holds: impl AsyncFnMut() -> bool,
) {
    wait_for(what, timeout, async || {
        holds().await.then_some(()).ok_or("false")
    })
    .await;
}
