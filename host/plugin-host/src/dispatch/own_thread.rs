//! Calls that may keep their thread for long.
//!
//! The engine's clock interrupts a guest at loops and at calls, but not within one instruction, and
//! a `memory.fill` of gigabytes takes seconds. On a thread of the runtime it would delay every
//! request that this thread has to answer. So these run on a thread of their own:
//! - the rest of a call that is not done at its first poll,
//! - the rest of a call during which the instance becomes large or huge: it yields there
//!   (`instance::limiter`),
//! - every call of a large instance that had a long call lately, and of a huge one
//!   (`driver::call_pace`).
//!
//! The other calls of a large instance stay: to change the thread costs more than most calls.
//!
//! A plugin whose call neither returns nor can be interrupted is given up: it counts as faulted,
//! and requests do not wait for it. Its instance is retired as soon as the call gives the thread
//! back.

use std::pin::Pin;
use std::sync::Arc;

use crate::blocking::on_own_thread;
use crate::driver::published_state::PublishedState;
use crate::driver::watch::watch;
use crate::instance::MAX_CALL_DEADLINES;

/// Goes on with the calls of a plugin on a thread of their own.
pub(super) async fn serve_on_own_thread(
    published: Arc<PublishedState>,
    serving: Pin<Box<dyn Future<Output = ()> + Send>>,
) {
    let limit = || {
        let deadline = published.details().settings.policy().deadline;
        Some((deadline, deadline * MAX_CALL_DEADLINES))
    };
    // Its error says that the host is stopping.
    let _ended = watch(&published, limit, on_own_thread(serving)).await;
}
