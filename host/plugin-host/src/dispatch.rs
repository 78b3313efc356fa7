//! The request path: one request to all enabled plugins, and their answers.
//!
//! ```text
//! HTTP handler     Dispatcher/FanOut     Batcher            invoke (driver)       Instance
//!      |                  |                 |                     |                  |
//!      |-- dispatch ----->|                 |                     |                  |
//!      |                  |-- submit ------>| queue of this       |                  |
//!      |                  |                 | worker thread       |                  |
//!      |                  |                 |                     |                  |
//!      |                  |                 | (yields once, if    |                  |
//!      |                  |                 | batches are worth   |                  |
//!      |                  |                 | it: other requests  |                  |
//!      |                  |                 | join the queue)     |                  |
//!      |                  |                 |                     |                  |
//!      |                  |                 | for each plugin:    |                  |
//!      |                  |                 |-- try_serve ------->| lock the driver  |
//!      |                  |                 |                     | for each call:   |
//!      |                  |                 |                     |   admit          |
//!      |                  |                 |                     |-- on_request --->| guest
//!      |                  |                 |                     |<-----------------|
//!      |                  |                 |                     |   publish        |
//!      |                  |<-- answer ------|---------------------|                  |
//!      |                  |                 |                     |                  |
//!      |                  |                 | plugins still busy: |                  |
//!      |                  |                 |-- serve_queued ---->| wait for the     |
//!      |                  |<-- hand_off ----|                     | lock in a task   |
//!      |                  | wait for the    |                     |                  |
//!      |                  | missing answers,|                     |                  |
//!      |                  | with a timeout  |                     |                  |
//!      |<-- answers ------|                 |                     |                  |
//! ```
//!
//! - [`fan_out`] is one request: its calls, its answers, and the wait for them.
//! - `batcher` groups the calls of many requests by plugin, and decides when and where they run.
//! - `invoke` is the part with a locked driver: which requests reach the guest, the call itself,
//!   and what is recorded of it.
//! - `own_thread` has the calls that may keep their thread for long.
//! - `invocation_span` is the trace span of a call.
//!
//! What bounds the path: a request waits for a plugin that is itself slow for at most the deadline
//! of one call plus a grace time. For a plugin whose calls are quick it waits longer, up to the
//! queue timeout: the machine is busy then, and no call is lost. At most 16,384 calls wait for one
//! plugin. A request that was dropped leaves its calls in progress; they run to their end.

mod batcher;
pub mod fan_out;
pub mod invocation_span;
mod invoke;
mod own_thread;

use std::sync::Arc;
use std::time::Duration;

use telemetry::context::TraceContext;
use tokio_util::task::TaskTracker;

use crate::dispatch::batcher::Batcher;
use crate::dispatch::fan_out::{FanOut, PluginAnswer};
use crate::driver::handle::Plugin;
use crate::instance::request::GuestRequest;

/// Sends requests to plugins.
pub(crate) struct Dispatcher {
    batcher: Batcher,
    /// The longest that a request waits for a plugin whose calls are quick.
    queue_timeout: Duration,
}

impl Dispatcher {
    /// Calls that wait run on `tasks`.
    pub(crate) fn new(tasks: TaskTracker, queue_timeout: Duration) -> Self {
        Dispatcher {
            batcher: Batcher::new(tasks),
            queue_timeout,
        }
    }

    /// Sends a request to these plugins and waits for their answers, which are in the same order.
    pub(crate) async fn dispatch(
        &self,
        plugins: Arc<[Arc<Plugin>]>,
        request: GuestRequest,
        trace: TraceContext,
    ) -> Vec<PluginAnswer> {
        let fan_out = Arc::new(FanOut::new(
            request,
            trace,
            plugins.len(),
            self.queue_timeout,
        ));
        self.batcher.submit(fan_out.clone(), plugins.clone()).await;
        fan_out.answers(&plugins).await
    }
}
