//! Decoy: a batch that fills and is written out. Nothing leaks.
//!
//! **Symptom.** Memory rises with every request, and falls back at once when nobody expects it. A diff
//! whose two ends happen to lie on one slope shows growth, and one across an edge shows less than
//! nothing.
//!
//! **Why it is none.** Records are collected and written out together when there are `batch_records`.
//! What counts is the floor: it is the same after each batch. A leak with such a shape has a floor that
//! rises; the curve `sawtooth` makes one out of any pattern, for comparison.
//!
//! **Fixed.** There is nothing to mend. `variant: fixed` writes each record by itself, and shows what
//! that costs: as many writes as there are records.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, Variant,
};

leak_plugin_sdk::settings! {
    /// When the batch is written out.
    pub struct BatchSettings {
        /// Records that are written out together.
        pub batch_records: usize = 100, in 1..=10_000;
    }
}

/// Records that wait to be written out.
#[derive(Debug, Default)]
pub struct Sawtooth {
    batch: Vec<Payload>,
    owned_bytes: usize,
}

impl LeakPlugin for Sawtooth {
    const TITLE: &'static str = "Decoy: sawtooth";
    const UNIT: &'static str = "records";
    const PAYLOAD_BYTES: usize = 4096;
    const PAYLOAD_DESCRIPTION: &'static str =
        "Bytes of one record, until the batch is written out.";
    type Settings = BatchSettings;

    fn on_request(&mut self, call: Call<'_, BatchSettings>) -> Result<Effect, Failure> {
        let record = call.payload(call.payload_bytes.saturating_sub(size_of::<Payload>()));
        self.owned_bytes += record.heap_bytes();
        self.batch.push(record);
        let full = match call.variant {
            Variant::Leaky => call.settings.batch_records,
            Variant::Fixed => 1,
        };
        if self.batch.len() >= full {
            self.write_out();
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.batch.len(),
            self.owned_bytes + self.batch.block_bytes(),
        )
    }
}

impl Sawtooth {
    /// Hands the batch on, whole, and begins a new one.
    fn write_out(&mut self) {
        let written = std::mem::take(&mut self.batch);
        self.owned_bytes = 0;
        drop(std::hint::black_box(written));
    }
}

leak_plugin_sdk::export!(Sawtooth);

#[cfg(test)]
mod tests;
