//! What a server knows about its instances: the one that is live, and those that have ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guest_heap::grouped;

use crate::heap::RawHeap;
use crate::serve::heap_requests::CountedHeap;
use crate::serve::retention::{MemorySize, Retained, Retention};

/// Why an instance has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The server stops, or the instance was for one request only.
    AsPlanned,
    /// The server stops, and requests were in progress.
    WhileBusy,
    Trapped(anyhow::Error),
    TimedOut(&'static str),
}

impl Ended {
    /// The reason in a word or two.
    fn name(&self) -> &'static str {
        match self {
            Self::AsPlanned | Self::WhileBusy => "as planned",
            Self::Trapped(_) => "trapped",
            Self::TimedOut(_) => "timed out",
        }
    }

    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Trapped(_) | Self::TimedOut(_))
    }
}

/// Everything that the server has counted.
#[derive(Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    retention: Retention,
    live: Live,
    ended: BTreeMap<&'static str, u64>,
    last_ended: Option<CountedHeap>,
    last_failed: Option<CountedHeap>,
}

/// The instance that is live.
#[derive(Default)]
struct Live {
    number: u64,
    requests: u64,
    /// Heaps at about the powers of two of its requests; the last few are kept.
    checkpoints: Vec<CountedHeap>,
    /// A recent heap of the idle instance.
    last_idle: Option<CountedHeap>,
}

/// Checkpoints that are kept. The one before the last is at most half as old as the instance.
const MAX_CHECKPOINTS: usize = 3;

/// A copy of the counts for a report.
pub(super) struct Summary {
    /// The number of the live instance, from 1.
    pub(super) number: u64,
    /// Requests that the live instance has handled.
    pub(super) requests: u64,
    checkpoints: Vec<CountedHeap>,
    last_idle: Option<CountedHeap>,
    /// Instances that have ended, by reason.
    pub(super) ended: BTreeMap<&'static str, u64>,
    pub(super) last_ended: Option<CountedHeap>,
    /// The last one that has not ended as planned.
    pub(super) last_failed: Option<CountedHeap>,
    pub(super) paths: Vec<(Arc<str>, Retained)>,
}

impl Tally {
    /// A new instance is live. Returns its number, from 1.
    pub(super) fn begin_instance(&self) -> u64 {
        let mut counts = self.lock();
        counts.live = Live {
            number: counts.live.number + 1,
            ..Live::default()
        };
        counts.live.number
    }

    /// Requests that the live instance has handled.
    pub(super) fn requests(&self) -> u64 {
        self.lock().live.requests
    }

    /// The live instance has handled a request. Returns how many it has handled by now.
    pub(super) fn count(&self, name: &Arc<str>) -> u64 {
        let mut counts = self.lock();
        counts.retention.count(name);
        counts.live.requests += 1;
        counts.live.requests
    }

    /// A request has changed the memory from one size to the other.
    pub(super) fn measure(&self, name: &Arc<str>, from: MemorySize, to: MemorySize) {
        self.lock().retention.measure(name, from, to);
    }

    /// Keeps a heap of the live instance to compare later ones with.
    pub(super) fn keep_checkpoint(&self, heap: RawHeap, is_idle: bool) {
        let mut counts = self.lock();
        let live = &mut counts.live;
        if live.checkpoints.len() >= MAX_CHECKPOINTS {
            let busy = live.checkpoints.iter().position(|it| !it.is_idle);
            live.checkpoints.remove(busy.unwrap_or(0));
        }
        let kept = live.counted(heap, is_idle);
        if is_idle {
            live.last_idle = Some(kept.clone());
        }
        live.checkpoints.push(kept);
    }

    /// Keeps a heap of the live instance, which is idle.
    pub(super) fn keep_idle(&self, heap: RawHeap) {
        let mut counts = self.lock();
        let live = &mut counts.live;
        live.last_idle = Some(live.counted(heap, true));
    }

    /// An instance has ended and left this heap. Returns what to tell the user.
    pub(super) fn end_instance(
        &self,
        number: u64,
        requests: u64,
        ended: &Ended,
        heap: RawHeap,
        denied: Option<u64>,
    ) -> String {
        let mut counts = self.lock();
        *counts.ended.entry(ended.name()).or_default() += 1;
        let size = match heap.measures_blocks() {
            true => format!(
                "{} live bytes in {} blocks",
                grouped(heap.live_bytes()),
                grouped(heap.live_objects())
            ),
            false => format!("{} bytes of linear memory", grouped(heap.linear_memory())),
        };
        let heap = Arc::new(heap);
        counts.last_ended = Some(CountedHeap {
            requests,
            is_idle: matches!(ended, Ended::AsPlanned),
            heap,
        });
        if ended.is_failure() {
            counts.last_failed = counts.last_ended.clone();
        }
        drop(counts);
        let why = match ended {
            Ended::AsPlanned | Ended::WhileBusy => "as planned".to_owned(),
            Ended::Trapped(error) => format!("the guest has trapped: {}", first_line(error)),
            Ended::TimedOut(why) => (*why).to_owned(),
        };
        let denied = denied.map_or_else(String::new, |wanted| {
            format!(
                "; it wanted {} bytes, more than --max-memory",
                grouped(wanted)
            )
        });
        format!(
            "instance {number} has ended after {} requests with {size}: {why}{denied}",
            grouped(requests),
        )
    }

    pub(super) fn summary(&self) -> Summary {
        let counts = self.lock();
        Summary {
            number: counts.live.number,
            requests: counts.live.requests,
            checkpoints: counts.live.checkpoints.clone(),
            last_idle: counts.live.last_idle.clone(),
            ended: counts.ended.clone(),
            last_ended: counts.last_ended.clone(),
            last_failed: counts.last_failed.clone(),
            paths: counts.retention.paths(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cause of a trap in one line: the last cause says what has happened, the others where.
fn first_line(error: &anyhow::Error) -> String {
    let cause = error.root_cause().to_string();
    cause.lines().next().unwrap_or_default().to_owned()
}

impl Live {
    fn counted(&self, heap: RawHeap, is_idle: bool) -> CountedHeap {
        CountedHeap {
            requests: self.requests,
            is_idle,
            heap: Arc::new(heap),
        }
    }
}

impl Summary {
    /// The two heaps that show the growth up to `now`. Both are of an idle guest if there are two
    /// such heaps. Then no request in progress counts as growth.
    pub(super) fn comparison<'a>(
        &'a self,
        now: &'a CountedHeap,
    ) -> Option<(&'a CountedHeap, &'a CountedHeap)> {
        let idle = Some(now).filter(|now| now.is_idle);
        let idle = idle.or(self.last_idle.as_ref());
        let of_idle = idle.and_then(|to| Some((self.checkpoint(to.requests, true)?, to)));
        of_idle.or_else(|| Some((self.checkpoint(now.requests, false)?, now)))
    }

    /// The checkpoint to compare a heap with: the latest one from the first half of its requests,
    /// or else the first.
    fn checkpoint(&self, requests: u64, must_be_idle: bool) -> Option<&CountedHeap> {
        let is_usable = |it: &&CountedHeap| it.requests < requests && (it.is_idle || !must_be_idle);
        let mut usable = self.checkpoints.iter().filter(is_usable);
        let first = usable.next()?;
        let early = |it: &&CountedHeap| it.requests <= requests / 2;
        Some(usable.rfind(early).unwrap_or(first))
    }
}
