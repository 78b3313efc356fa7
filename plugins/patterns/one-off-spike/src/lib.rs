//! Decoy: one large thing that comes and goes. Nothing leaks.
//!
//! **Symptom.** Live bytes jump up in one request, stay there for a while and fall back to where they
//! were. Linear memory, and with it the memory of the process, stays up: it looks as if the fall had not
//! happened.
//!
//! **Why it is none.** A report was built, sent and dropped. It happens once, and afterwards the
//! pattern holds nothing. What stays is free memory in the heap, which the next allocation uses; in
//! wasm only a fresh instance gives it back (`POST /admin/gc`).
//!
//! **Fixed.** There is nothing to mend, but something to gain: `variant: fixed` sends the report row by
//! row, and never holds more than one.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, Variant,
};

leak_plugin_sdk::settings! {
    /// When the report comes, and how large it is.
    pub struct SpikeSettings {
        /// The number of the request that asks for the report, counted since the instance was started.
        pub at_request: u64 = 50, in 1..=1_000_000;
        /// Requests for which the report is held, until it is sent.
        pub hold_requests: u64 = 50, in 1..=1_000_000;
        /// Rows that the report is made of.
        pub rows: usize = 1000, in 1..=100_000;
    }
}

/// The report, while there is one.
#[derive(Debug, Default)]
pub struct OneOffSpike {
    rows: Vec<Payload>,
    owned_bytes: usize,
    /// The last request for which it is held.
    until: u64,
}

impl LeakPlugin for OneOffSpike {
    const TITLE: &'static str = "Decoy: one-off spike";
    const UNIT: &'static str = "rows";
    const PAYLOAD_BYTES: usize = 8 << 20;
    const PAYLOAD_DESCRIPTION: &'static str = "Bytes of the whole report, while it is held.";
    type Settings = SpikeSettings;

    fn on_request(&mut self, call: Call<'_, SpikeSettings>) -> Result<Effect, Failure> {
        if !self.rows.is_empty() && call.sequence > self.until {
            self.clear();
        }
        if call.sequence != call.settings.at_request {
            return Ok(Effect::Skipped);
        }
        let row_bytes = call.payload_bytes / call.settings.rows;
        let row_bytes = row_bytes.saturating_sub(size_of::<Payload>());
        let rows = (0..call.settings.rows).map(|_| call.payload(row_bytes));
        match call.variant {
            Variant::Leaky => {
                self.rows = rows.collect();
                self.owned_bytes = self.rows.as_slice().heap_bytes();
                self.until = call.sequence + call.settings.hold_requests;
            }
            Variant::Fixed => rows.for_each(|row| drop(std::hint::black_box(row))),
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(self.rows.len(), self.owned_bytes + self.rows.block_bytes())
    }
}

leak_plugin_sdk::export!(OneOffSpike);

#[cfg(test)]
mod tests;
