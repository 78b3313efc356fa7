//! An unbounded queue with a slow consumer.
//!
//! **Symptom.** Memory is flat for weeks. One day there are more requests than the consumer can
//! handle, or the consumer gets slower. From then on memory grows by the difference, and jobs wait
//! longer and longer. When traffic falls, memory falls too, if the process is still alive.
//!
//! **Cause.** Requests put jobs into an unbounded queue. A consumer takes them out at its own rate,
//! here `jobs_per_second`. A queue absorbs a burst, but it does not make the consumer faster.
//! Without a bound there is no backpressure: no producer ever slows down.
//!
//! **Fix.** `variant: fixed` rejects a request at once while `max_jobs` jobs are queued. After a
//! switch to `fixed`, each request sheds up to [`SHRINK_STEP`] leaked jobs, oldest first.

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, SHRINK_STEP,
    Variant,
};

leak_plugin_sdk::settings! {
    /// The rate of the consumer, and the bound of the fixed variant.
    pub struct QueueSettings {
        /// Jobs per second that the consumer handles. The queue grows only at higher request rates.
        pub jobs_per_second: f64 = 1.0, in 0.0..=100_000.0;
        /// Maximum number of queued jobs of the fixed variant.
        pub max_jobs: usize = 100, in 1..=1_000_000;
    }
}

/// A job queue with one consumer.
#[derive(Debug, Default)]
pub struct UnboundedQueue {
    waiting: VecDeque<Job>,
    owned_bytes: usize,
    consumer: Consumer,
}

/// A unit of work, for example an e-mail to send or a row to index.
#[derive(Debug)]
struct Job {
    request_id: String,
    document: Payload,
}

impl HeapSize for Job {
    fn heap_bytes(&self) -> usize {
        self.request_id.heap_bytes() + self.document.heap_bytes()
    }
}

impl LeakPlugin for UnboundedQueue {
    const TITLE: &'static str = "Unbounded queue";
    const UNIT: &'static str = "jobs";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = QueueSettings;

    fn on_request(&mut self, call: Call<'_, QueueSettings>) -> Result<Effect, Failure> {
        let done = self
            .consumer
            .jobs_done(call.request.time_unix_ms, call.settings.jobs_per_second);
        for _ in 0..done {
            if self.take().is_none() {
                break;
            }
        }
        if call.variant == Variant::Fixed {
            self.shed(call.settings.max_jobs);
            if self.waiting.len() >= call.settings.max_jobs {
                return Ok(Effect::Skipped); // The fix: a full queue rejects the job.
            }
        }
        // The leak's memory: the id and the document of a job. The queue keeps them.
        let request_id = call.request.id.clone();
        let overhead = size_of::<Job>() + request_id.heap_bytes();
        self.put(Job {
            request_id,
            document: call.payload(call.payload_bytes.saturating_sub(overhead)),
        });
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.waiting.len(),
            self.owned_bytes + self.waiting.block_bytes(),
        )
    }
}

impl UnboundedQueue {
    /// The bug: `put` accepts every job, however long the queue is.
    fn put(&mut self, job: Job) {
        self.owned_bytes += job.heap_bytes();
        self.waiting.push_back(job);
    }

    /// Removes the oldest job.
    fn take(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.owned_bytes -= job.heap_bytes();
        self.waiting.shrink_sparse();
        Some(job)
    }

    /// Drops the oldest jobs until `max` are left, at most [`SHRINK_STEP`] per call. The oldest,
    /// because their clients no longer wait for an answer.
    fn shed(&mut self, max: usize) {
        for _ in 0..SHRINK_STEP {
            if self.waiting.len() <= max || self.take().is_none() {
                break;
            }
        }
    }
}

/// A simulated consumer that handles jobs at a constant rate.
#[derive(Debug, Default)]
struct Consumer {
    /// The time of the last update; `None` before the first request.
    updated_unix_ms: Option<u64>,
    /// The finished part of the current job, less than 1 between two updates.
    progress: f64,
}

impl Consumer {
    /// The number of jobs that were finished since the last call, at most [`SHRINK_STEP`].
    fn jobs_done(&mut self, now_unix_ms: u64, per_second: f64) -> usize {
        let updated = self.updated_unix_ms.replace(now_unix_ms);
        let ms = updated.map_or(0, |updated| now_unix_ms.saturating_sub(updated));
        self.progress = (self.progress + ms as f64 / 1000.0 * per_second).min(SHRINK_STEP as f64);
        let done = self.progress.floor();
        self.progress -= done;
        done as usize
    }
}

leak_plugin_sdk::export!(UnboundedQueue);

#[cfg(test)]
mod tests;
