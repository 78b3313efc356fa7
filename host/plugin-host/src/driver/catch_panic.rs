//! Panics of the host during a plugin call, as faults of the plugin.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::error::{Fault, FaultKind};

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
