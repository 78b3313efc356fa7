//! Decoy: a batch that fills up and is written out. Nothing leaks.
//!
//! **Symptom.** Memory rises with every request and then falls suddenly. A diff within one rise
//! shows growth. A diff across a fall shows a decrease.
//!
//! **Why it is not a leak.** The pattern collects `batch_records` records and writes them out
//! together. Look at the floor: it is the same after each batch. A leak with this shape has a floor
//! that rises. For comparison, the curve `sawtooth` gives any pattern such a leak.
//!
//! **Fixed.** There is no bug to fix. `variant: fixed` writes each record separately and shows the
//! cost: one write per record.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, Variant,
};

leak_plugin_sdk::settings! {
    /// The size of a batch.
    pub struct BatchSettings {
        /// Number of records in a batch.
        pub batch_records: usize = 100, in 1..=10_000;
    }
}

/// The current batch.
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
        "Bytes of one record, retained until the batch is written out.";
    type Settings = BatchSettings;

    fn on_request(&mut self, call: Call<'_, BatchSettings>) -> Result<Effect, Failure> {
        let record = call.payload(call.payload_bytes.saturating_sub(size_of::<Payload>()));
        self.owned_bytes += record.heap_bytes();
        self.batch.push(record);
        let batch_records = match call.variant {
            Variant::Leaky => call.settings.batch_records,
            Variant::Fixed => 1,
        };
        // Not a leak: a full batch is written out and freed.
        if self.batch.len() >= batch_records {
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
    /// Writes out the whole batch, which frees it, and starts a new one.
    fn write_out(&mut self) {
        let written = std::mem::take(&mut self.batch);
        self.owned_bytes = 0;
        drop(std::hint::black_box(written));
    }
}

leak_plugin_sdk::export!(Sawtooth);

#[cfg(test)]
mod tests;
