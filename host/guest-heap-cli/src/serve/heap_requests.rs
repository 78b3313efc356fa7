//! Questions for the live instance's heap. Its event loop answers them between two steps of the
//! guest, and the engine's clock within a step that takes long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use wasmtime::AsContext;

use crate::heap::RawHeap;
use crate::host_state::HostState;

/// Time for which a busy guest can become idle before its heap is read anyway.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// A heap, and what its instance was doing.
#[derive(Clone)]
pub(super) struct CountedHeap {
    /// Requests that the instance had handled by then.
    pub(super) requests: u64,
    /// Whether it had nothing to do. Otherwise the heap holds what requests in progress need.
    pub(super) is_idle: bool,
    pub(super) heap: Arc<RawHeap>,
}

/// An open question.
struct Question {
    asked: Instant,
    answer: oneshot::Sender<CountedHeap>,
}

/// The open questions.
#[derive(Default)]
pub(super) struct HeapRequests {
    open: Mutex<Vec<Question>>,
    opened: Notify,
}

impl HeapRequests {
    /// Asks for the heap. The answer comes when the guest allows it, or never.
    pub(super) fn ask(&self) -> oneshot::Receiver<CountedHeap> {
        let (answer, answered) = oneshot::channel();
        let mut open = self.lock();
        // Those who ask may give up before there is an instance.
        open.retain(|question| !question.answer.is_closed());
        open.push(Question {
            asked: Instant::now(),
            answer,
        });
        drop(open);
        self.opened.notify_one();
        answered
    }

    /// Waits for a question.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// Answers the open questions from the store of the live instance, which has handled this many
    /// requests. If it is busy, only those that have waited for long enough.
    pub(super) fn answer(
        &self,
        store: &impl AsContext<Data = HostState>,
        requests: u64,
        is_idle: bool,
    ) {
        let is_due = |question: &mut Question| is_idle || question.asked.elapsed() >= IDLE_WAIT;
        let due: Vec<Question> = self.lock().extract_if(.., is_due).collect();
        if due.is_empty() {
            return;
        }
        let heap = CountedHeap {
            requests,
            is_idle,
            heap: Arc::new(RawHeap::read(store)),
        };
        for question in due {
            // Nobody may wait any more.
            question.answer.send(heap.clone()).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Question>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
