//! Questions for the live instance's heap. Its event loop answers them between two steps of the
//! guest, and the engine's clock within a step that takes long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use wasmtime::AsContext;

use crate::heap::RawHeap;
use crate::host_state::HostState;

/// A heap, and the number of requests that its instance had handled by then.
#[derive(Clone)]
pub(super) struct CountedHeap {
    pub(super) requests: u64,
    pub(super) heap: Arc<RawHeap>,
}

/// The open questions.
#[derive(Default)]
pub(super) struct HeapRequests {
    open: Mutex<Vec<oneshot::Sender<Arc<RawHeap>>>>,
    opened: Notify,
}

impl HeapRequests {
    /// Asks for the heap. The answer comes when the guest allows it, or never.
    pub(super) fn ask(&self) -> oneshot::Receiver<Arc<RawHeap>> {
        let (answer, answered) = oneshot::channel();
        let mut open = self.lock();
        // Those who ask may give up before there is an instance.
        open.retain(|answer| !answer.is_closed());
        open.push(answer);
        drop(open);
        self.opened.notify_one();
        answered
    }

    /// Waits for a question.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// Answers all open questions from the store of the live instance.
    pub(super) fn answer(&self, store: &impl AsContext<Data = HostState>) {
        let open = std::mem::take(&mut *self.lock());
        if open.is_empty() {
            return;
        }
        let heap = Arc::new(RawHeap::read(store));
        for answer in open {
            // Nobody may wait any more.
            answer.send(heap.clone()).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<oneshot::Sender<Arc<RawHeap>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
