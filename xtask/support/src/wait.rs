//! Waiting for something that another process does.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Pause between two attempts. Each attempt makes a request or more.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// Repeats `attempt` until it succeeds, at most for `limit`. There is always one attempt.
///
/// # Errors
/// After the limit: the error of the last attempt, in the context `{what} within N s`.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    interval: Duration,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what} within {} s", limit.as_secs())));
            }
            Err(_) => std::thread::sleep(interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_last_error_is_reported_after_the_limit() {
        let mut attempts = 0;
        let limit = Duration::from_millis(30);
        let error = wait_for(
            "no answer",
            limit,
            Duration::from_millis(5),
            || -> Result<()> {
                attempts += 1;
                bail!("reason {attempts}")
            },
        )
        .unwrap_err();
        assert!(attempts >= 2);
        assert_eq!(
            format!("{error:#}"),
            format!("no answer within 0 s: reason {attempts}")
        );
    }

    #[test]
    fn a_success_ends_the_wait() {
        let mut attempts = 0;
        let value = wait_for("no answer", INTERVAL, Duration::ZERO, || {
            attempts += 1;
            if attempts < 3 {
                bail!("not yet");
            }
            Ok(attempts)
        });
        assert_eq!(value.unwrap(), 3);
    }
}
