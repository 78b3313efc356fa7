//! The readings and the histories of a host's guests.

mod samples;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use guest_heap::history::History;
use guest_heap::snapshot::Snapshot;
use guest_heap::{Attribution, LiveRange};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::MissedTickBehavior;

use samples::Samples;
pub use verdict::GuestVerdict;

use crate::error::InspectorError;
use crate::options::Options;
use crate::profile::Profiles;
use crate::source::{AnySource, HeapError, HeapSource, KeptHistory};
use crate::source_file::SourceRoots;

/// One reading of a guest's heap.
#[derive(Debug)]
pub(crate) struct GuestHeap {
    pub(crate) guest: String,
    /// When it was read, on the clock of [`Inspector::now`].
    pub(crate) read_at: Duration,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) attribution: Attribution,
    pub(crate) live_range: LiveRange,
    /// Calls that the guest has served since its start, if the host counts them.
    pub(crate) calls: Option<u64>,
    /// Bytes of linear memory, if they are known.
    pub(crate) linear_memory: Option<u64>,
}

impl GuestHeap {
    /// Whether the counts of blocks are a measurement.
    pub(crate) fn measures_blocks(&self) -> bool {
        let totals = self.snapshot.totals();
        self.attribution.measures_blocks(totals.allocated_objects)
    }

    /// Bytes of linear memory whose allocations the profiler does not see, if they are known.
    fn unseen_bytes(&self) -> Option<u64> {
        let coverage = self.snapshot.coverage();
        match coverage.memory_is_known() || self.measures_blocks() {
            true => Some(coverage.heap_unseen_bytes),
            false => self.linear_memory,
        }
    }
}

/// The guests of a host: their latest readings, and what they held in the last 15 minutes.
pub struct Inspector {
    source: Box<dyn AnySource>,
    pub(crate) options: Options,
    pub(crate) source_roots: SourceRoots,
    pub(crate) profiles: Profiles,
    started: Instant,
    tracked: Mutex<BTreeMap<String, Arc<TrackedGuest>>>,
    readings: Semaphore,
}

/// What the inspector keeps of one guest.
#[derive(Default)]
struct TrackedGuest {
    latest: AsyncMutex<Option<Arc<GuestHeap>>>,
    history: Arc<Mutex<History>>,
    samples: Mutex<Samples>,
}

impl Inspector {
    /// An inspector without a reading yet. See [`Inspector::keep_history`].
    pub fn new(source: impl HeapSource, options: Options) -> Arc<Self> {
        Arc::new(Self {
            source: Box::new(source),
            readings: Semaphore::new(options.max_concurrent_readings.max(1)),
            source_roots: SourceRoots::new(options.source_roots.clone()),
            profiles: Profiles::default(),
            options,
            started: Instant::now(),
            tracked: Mutex::default(),
        })
    }

    /// Reads all guests at each [`Options::history_interval`], until the inspector is dropped.
    ///
    /// Spawn it as a task. Without it the history has only the readings that queries make.
    pub fn keep_history(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        sample(
            Arc::downgrade(self),
            self.options.history_interval.max(Duration::from_millis(10)),
        )
    }

    /// The names of the guests that run now.
    pub(crate) fn guests(&self) -> Vec<String> {
        self.source.guests()
    }

    /// The time of the readings: since the inspector's start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The heaps of one guest, or of all. If no guest is named, those that cannot be read are left
    /// out.
    pub(crate) async fn heaps(
        &self,
        guest: Option<&str>,
    ) -> Result<Vec<Arc<GuestHeap>>, InspectorError> {
        let guests = self.guests();
        if let Some(name) = guest {
            if !guests.iter().any(|known| known == name) {
                return Err(InspectorError::unknown_guest(name, &guests));
            }
            return Ok(vec![self.heap(name).await?]);
        }
        let read = guests.iter().map(|name| self.heap(name));
        Ok(join_all(read).await.into_iter().flatten().collect())
    }

    /// A reading of one guest that is not older than [`Options::max_reading_age`].
    pub(crate) async fn heap(&self, guest: &str) -> Result<Arc<GuestHeap>, InspectorError> {
        let tracked = self.tracked(guest);
        let read = tokio::time::timeout(
            self.options.reading_timeout,
            self.read_tracked(guest, &tracked),
        );
        let error = match read.await {
            Ok(Ok(heap)) => return Ok(heap),
            Ok(Err(error)) => error,
            Err(_elapsed) => HeapError::Busy,
        };
        tracing::debug!(guest, %error, "the heap of a guest cannot be read");
        Err(InspectorError::of_guest(guest, &error))
    }

    /// The history of a guest: the host's own, or that of the inspector.
    pub(crate) fn history(&self, guest: &str) -> KeptHistory {
        self.source.history(guest).unwrap_or_else(|| KeptHistory {
            history: self.tracked(guest).history.clone(),
            now: self.now(),
        })
    }

    /// The calls that a guest has served between two times in the past. `None` if they are not
    /// counted.
    pub(crate) fn calls_between(
        &self,
        guest: &str,
        begin_ago: Duration,
        end_ago: Duration,
    ) -> Option<u64> {
        lock(&self.tracked(guest).samples).calls_between(begin_ago, end_ago)
    }

    /// The change of a guest's linear memory between two times in the past, in bytes. `None` if it
    /// is not known.
    pub(crate) fn linear_change(
        &self,
        guest: &str,
        begin_ago: Duration,
        end_ago: Duration,
    ) -> Option<i64> {
        lock(&self.tracked(guest).samples).linear_change(begin_ago, end_ago)
    }

    async fn read_tracked(
        &self,
        guest: &str,
        tracked: &Arc<TrackedGuest>,
    ) -> Result<Arc<GuestHeap>, HeapError> {
        // Others wait here for the reading that is being made, and share it.
        let mut latest = tracked.latest.lock().await;
        let is_fresh = |heap: &&Arc<GuestHeap>| {
            self.now().saturating_sub(heap.read_at) < self.options.max_reading_age
        };
        if let Some(heap) = latest.as_ref().filter(is_fresh) {
            return Ok(heap.clone());
        }
        let failed = |error: &dyn std::fmt::Display| HeapError::Failed(error.to_string());
        let _permit = self.readings.acquire().await.map_err(|e| failed(&e))?;
        let reading = self.source.read(guest).await?;
        let read_at = self.now();
        let (name, kept) = (guest.to_owned(), tracked.clone());
        let symbolized = tokio::task::spawn_blocking(move || {
            let snapshot = reading.counts.symbolize();
            let coverage = snapshot.coverage();
            let known = coverage.memory_is_known().then_some(coverage.memory_bytes);
            let heap = Arc::new(GuestHeap {
                guest: name,
                read_at,
                linear_memory: known.or(reading.linear_memory),
                snapshot,
                attribution: reading.attribution,
                live_range: reading.live_range,
                calls: reading.calls,
            });
            lock(&kept.history).push(read_at, &heap.snapshot);
            lock(&kept.samples).push(&heap);
            heap
        });
        let heap = symbolized.await.map_err(|e| failed(&e))?;
        *latest = Some(heap.clone());
        Ok(heap)
    }

    /// What is kept of a guest. Guests beyond the maximum get nothing that outlives the query.
    fn tracked(&self, guest: &str) -> Arc<TrackedGuest> {
        let mut tracked = lock(&self.tracked);
        if let Some(known) = tracked.get(guest) {
            return known.clone();
        }
        let new = Arc::new(TrackedGuest::default());
        if tracked.len() < self.options.max_guests {
            tracked.insert(guest.to_owned(), new.clone());
        }
        new
    }

    /// Forgets the guests that have ended, and reads the others.
    async fn sample(&self) {
        let guests = self.guests();
        lock(&self.tracked).retain(|name, _| guests.contains(name));
        let sampled = guests.iter().take(self.options.max_guests);
        join_all(sampled.map(|guest| self.heap(guest))).await;
    }
}

async fn sample(inspector: Weak<Inspector>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match inspector.upgrade() {
            Some(inspector) => inspector.sample().await,
            None => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
