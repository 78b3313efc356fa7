//! Decoy: memory that follows the load. Nothing leaks.
//!
//! **Symptom.** Memory is twice as high when there are twice as many requests per second. In a load test
//! that ramps up it rises all the time, in step with the requests, as a leak would.
//!
//! **Why it is none.** Each request has a buffer for as long as it is worked on, `work_ms`. How many are
//! alive at a time is the rate times that time (Little's law), whatever came before. The sign: at a
//! steady rate it is flat, and when traffic falls it falls too. `bytes_per_request` goes down all the
//! while.
//!
//! **Fixed.** There is nothing to mend, but something to bound: `variant: fixed` works on `max_in_flight`
//! requests at a time and turns the others away.
//!
//! A plugin acts when it is called: buffers whose time is over go with the next request.

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, Variant,
};

leak_plugin_sdk::settings! {
    /// How long the work takes, and how much of it is done at a time.
    pub struct InFlightSettings {
        /// Milliseconds for which a request is worked on.
        pub work_ms: u64 = 500, in 1..=60_000;
        /// Requests that the fixed variant works on at a time.
        pub max_in_flight: usize = 20, in 1..=100_000;
    }
}

/// What is being worked on.
#[derive(Debug, Default)]
pub struct InFlight {
    /// In the order in which they came.
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
        "Bytes of the buffer that a request has while it is worked on.";
    type Settings = InFlightSettings;

    fn on_request(&mut self, call: Call<'_, InFlightSettings>) -> Result<Effect, Failure> {
        let now = call.request.time_unix_ms;
        self.finish(now);
        if call.variant == Variant::Fixed && self.buffers.len() >= call.settings.max_in_flight {
            return Ok(Effect::Skipped);
        }
        let body = call.payload(call.payload_bytes.saturating_sub(size_of::<Buffer>()));
        self.owned_bytes += body.heap_bytes();
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
    /// Drops the buffers of requests that are done.
    fn finish(&mut self, now_unix_ms: u64) {
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
