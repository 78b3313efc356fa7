//! Decoy: one large allocation that is freed later. Nothing leaks.
//!
//! **Symptom.** Live bytes jump in one request, stay high for a while and fall back to their old
//! value. Linear memory stays high, and so does the memory of the process. It looks as if nothing
//! was freed.
//!
//! **Why it is not a leak.** The pattern builds, sends and drops one report. It does this once, and
//! afterwards it holds nothing. The freed memory stays in the heap, where the next allocation
//! reuses it. In wasm only a fresh instance gives it back (`POST /admin/gc`).
//!
//! **Fixed.** There is no bug to fix, but a peak to avoid: `variant: fixed` sends the report row by
//! row and holds at most one row.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, Variant,
};

leak_plugin_sdk::settings! {
    /// The time and the size of the report.
    pub struct SpikeSettings {
        /// Number of the request that builds the report, counted since the start of the instance.
        pub at_request: u64 = 50, in 1..=1_000_000;
        /// Number of requests for which the report is held.
        pub hold_requests: u64 = 50, in 1..=1_000_000;
        /// Number of rows in the report.
        pub rows: usize = 1000, in 1..=100_000;
    }
}

/// The report while it is held.
#[derive(Debug, Default)]
pub struct OneOffSpike {
    rows: Vec<Payload>,
    owned_bytes: usize,
    /// The number of the last request for which the report is held.
    held_until: u64,
}

impl LeakPlugin for OneOffSpike {
    const TITLE: &'static str = "Decoy: one-off spike";
    const UNIT: &'static str = "rows";
    const PAYLOAD_BYTES: usize = 8 << 20;
    const PAYLOAD_DESCRIPTION: &'static str =
        "Bytes of the report, retained only while it is held.";
    type Settings = SpikeSettings;

    fn on_request(&mut self, call: Call<'_, SpikeSettings>) -> Result<Effect, Failure> {
        // Not a leak: the report is dropped as a whole.
        if !self.rows.is_empty() && call.sequence > self.held_until {
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
                self.held_until = call.sequence + call.settings.hold_requests;
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
