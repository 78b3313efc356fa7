//! Decoy: memory that follows the load. Nothing leaks.
//!
//! **Symptom.** Memory doubles when the request rate doubles. In a load test that ramps up, memory
//! rises all the time, in step with the requests, as a leak does.
//!
//! **Why it is not a leak.** Each request owns a buffer while it is in progress, for `work_ms`. The
//! number of live buffers is the rate times that duration (Little's law), whatever came before. How
//! to tell: at a steady rate memory is flat, and when traffic falls, memory falls too.
//! `bytes_per_request` falls all the time.
//!
//! **Fixed.** There is no bug to fix, but a missing bound: `variant: fixed` works on at most
//! `max_in_flight` requests at a time and rejects the others.
//!
//! A plugin runs only when it is called, so finished buffers are freed with the next request.

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, Variant,
};

leak_plugin_sdk::settings! {
    /// The duration of the work, and the concurrency limit.
    pub struct InFlightSettings {
        /// How long a request is in progress, in milliseconds.
        pub work_ms: u64 = 500, in 1..=60_000;
        /// Maximum number of concurrent requests of the fixed variant.
        pub max_in_flight: usize = 20, in 1..=100_000;
    }
}

/// The requests in progress.
#[derive(Debug, Default)]
pub struct InFlight {
    /// In order of arrival.
    buffers: VecDeque<Buffer>,
    owned_bytes: usize,
}

#[derive(Debug)]
struct Buffer {
    done_unix_ms: u64,
    body: Payload,
}

impl LeakPlugin for InFlight {
    const TITLE: &'static str = "Decoy: requests in flight";
    const UNIT: &'static str = "buffers";
    const PAYLOAD_BYTES: usize = 16 * 1024;
    const PAYLOAD_DESCRIPTION: &'static str =
        "Bytes of the buffer that a request owns while it is in progress.";
    type Settings = InFlightSettings;

    fn on_request(&mut self, call: Call<'_, InFlightSettings>) -> Result<Effect, Failure> {
        let now = call.request.time_unix_ms;
        self.drop_finished(now);
        if call.variant == Variant::Fixed && self.buffers.len() >= call.settings.max_in_flight {
            return Ok(Effect::Skipped);
        }
        let body = call.payload(call.payload_bytes.saturating_sub(size_of::<Buffer>()));
        self.owned_bytes += body.heap_bytes();
        // Not a leak: `drop_finished` frees the buffer after `work_ms`.
        self.buffers.push_back(Buffer {
            done_unix_ms: now + call.settings.work_ms,
            body,
        });
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.buffers.len(),
            self.owned_bytes + self.buffers.block_bytes(),
        )
    }
}

impl InFlight {
    /// Drops the buffers of finished requests.
    fn drop_finished(&mut self, now_unix_ms: u64) {
        let done = |buffer: &mut Buffer| buffer.done_unix_ms <= now_unix_ms;
        while let Some(buffer) = self.buffers.pop_front_if(done) {
            self.owned_bytes -= buffer.body.heap_bytes();
        }
        self.buffers.shrink_sparse();
    }
}

leak_plugin_sdk::export!(InFlight);

#[cfg(test)]
mod tests;
