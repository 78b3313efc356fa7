//! The unbounded queue behind a slow consumer.
//!
//! **Symptom.** Memory is flat for weeks. One day traffic is above what the consumer can do, or the
//! consumer gets slower, and from then on memory grows by the difference. Jobs come out later and
//! later. When traffic falls, memory comes down again, if the process lives to see it.
//!
//! **Cause.** Requests put jobs into a queue without a bound, and a consumer takes them out at a pace of
//! its own, here `jobs_per_second`. A queue evens out a burst; it cannot make a consumer faster. With
//! no bound nobody upstream is ever told to slow down.
//!
//! **Fix.** `variant: fixed` bounds the queue: with `max_jobs` waiting, a request is turned away at once
//! instead of being promised something. What was queued before the switch is shed in steps of
//! [`SHRINK_STEP`] jobs per request, the oldest first: nobody waits for them any more.

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, SHRINK_STEP,
    Variant,
};

leak_plugin_sdk::settings! {
    /// How fast the consumer is, and where the fixed variant stops taking jobs.
    pub struct QueueSettings {
        /// Jobs that the consumer handles in a second; as long as requests come slower, nothing grows.
        pub jobs_per_second: f64 = 1.0, in 0.0..=100_000.0;
        /// Most jobs that wait in the fixed variant.
        pub max_jobs: usize = 100, in 1..=1_000_000;
    }
}

/// Jobs that wait for the one consumer.
#[derive(Debug, Default)]
pub struct UnboundedQueue {
    waiting: VecDeque<Job>,
    jobs_bytes: usize,
    consumer: Consumer,
}

/// A mail to be sent, a row to be indexed.
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
                return Ok(Effect::Skipped);
            }
        }
        let request_id = call.request.id.clone();
        let around = size_of::<Job>() + request_id.heap_bytes();
        self.put(Job {
            request_id,
            document: call.payload(call.payload_bytes.saturating_sub(around)),
        });
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.waiting.len(),
            self.jobs_bytes + self.waiting.block_bytes(),
        )
    }
}

impl UnboundedQueue {
    /// The bug: this never says no.
    fn put(&mut self, job: Job) {
        self.jobs_bytes += job.heap_bytes();
        self.waiting.push_back(job);
    }

    fn take(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.jobs_bytes -= job.heap_bytes();
        self.waiting.shrink_sparse();
        Some(job)
    }

    /// Drops the oldest jobs beyond `most`, not too many at a time.
    fn shed(&mut self, most: usize) {
        for _ in 0..SHRINK_STEP {
            if self.waiting.len() <= most || self.take().is_none() {
                break;
            }
        }
    }
}

/// Takes out jobs at its own pace, whatever the requests do.
#[derive(Debug, Default)]
struct Consumer {
    /// When it was last looked at; none before the first request.
    seen_unix_ms: Option<u64>,
    /// The part of the next job that is done.
    begun: f64,
}

impl Consumer {
    /// How many jobs it has done since it was last asked, at most [`SHRINK_STEP`].
    fn jobs_done(&mut self, now_unix_ms: u64, per_second: f64) -> usize {
        let since = self.seen_unix_ms.replace(now_unix_ms);
        let ms = since.map_or(0, |since| now_unix_ms.saturating_sub(since));
        self.begun = (self.begun + ms as f64 / 1000.0 * per_second).min(SHRINK_STEP as f64);
        let done = self.begun.floor();
        self.begun -= done;
        done as usize
    }
}

leak_plugin_sdk::export!(UnboundedQueue);

#[cfg(test)]
mod tests;
