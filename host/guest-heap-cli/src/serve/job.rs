//! One request on its way to the guest.

use std::sync::{Arc, OnceLock};

use futures_channel::oneshot;
use tokio::sync::mpsc;
use wasmtime_wasi_http::handler::{Request, Response};

/// A request that waits for an instance.
pub(super) struct Job {
    pub(super) request: Request,
    /// The method and the path, without the query.
    pub(super) name: Arc<str>,
    pub(super) answer: oneshot::Sender<wasmtime::Result<Response>>,
    pub(super) started: Arc<OnceLock<Started>>,
}

/// A request that an instance has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Started {
    /// Whether it is the first one of its instance.
    pub(super) is_first: bool,
}

impl Job {
    /// Whether the client still waits. If so, the request counts as started.
    pub(super) fn start(&self, is_first: bool) -> bool {
        if self.answer.is_canceled() {
            return false;
        }
        // A job is started once.
        self.started.set(Started { is_first }).ok();
        true
    }
}

/// Where an instance gets its requests from.
pub(super) enum Source<'a> {
    /// The queue of the server.
    Queue(&'a mut mpsc::Receiver<Job>),
    /// One request; then the instance ends.
    One(Option<Box<Job>>),
}

impl Source<'_> {
    /// The next request; `None` if no more will come. It can be cancelled without a loss.
    pub(super) async fn next(&mut self) -> Option<Job> {
        match self {
            Self::Queue(queue) => queue.recv().await,
            Self::One(job) => job.take().map(|job| *job),
        }
    }
}
