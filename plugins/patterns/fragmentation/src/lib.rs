//! Heap fragmentation: there is enough free memory, but in blocks that are too small.
//!
//! **Symptom.** Linear memory grows with every request, but live bytes do not: the pattern always
//! holds `live_mb`. The diff names no line, because no line holds more than before. The difference
//! between linear memory and live bytes, `heap_free_mb`, grows.
//!
//! **Cause.** Over time, larger records replace the old ones, and some old records stay between the
//! freed ones. Each freed hole is smaller than the next record. So each new generation of records
//! needs fresh memory, however much is free. The growth ends: the size of the largest record limits
//! the worst case, here to about five times the live bytes.
//!
//! **Fix.** `variant: fixed` stores each record in chunks of one size, so every chunk fits into
//! every hole. Linear memory never shrinks: only a fresh instance gives back the memory that was
//! taken before.

mod generations;

use leak_plugin_sdk::{Call, Effect, Failure, LeakPlugin, Retention, Variant};

use generations::{Generations, Record};

leak_plugin_sdk::settings! {
    /// The amount of live memory.
    pub struct FragmentationSettings {
        /// MiB of live records. The first requests fill them; later requests replace them.
        pub live_mb: usize = 4, in 1..=256;
    }
}

/// A store of records that get larger over time.
#[derive(Debug, Default)]
pub struct Fragmentation {
    records: Generations,
    /// Bytes that requests should already have replaced. They are fewer than the next record needs.
    pending_bytes: usize,
}

impl LeakPlugin for Fragmentation {
    const TITLE: &'static str = "Heap fragmentation";
    const UNIT: &'static str = "records";
    const PAYLOAD_BYTES: usize = 64 * 1024;
    const PAYLOAD_DESCRIPTION: &'static str =
        "Bytes that one request replaces. The retained bytes stay the same.";
    type Settings = FragmentationSettings;

    fn on_request(&mut self, call: Call<'_, FragmentationSettings>) -> Result<Effect, Failure> {
        let live_bytes = call.settings.live_mb << 20;
        self.pending_bytes += call.payload_bytes;
        for index in 0.. {
            let Some(bytes) = self.records.make_room(live_bytes) else {
                // There is more to drop than one request may drop. The next request continues.
                self.pending_bytes = 0;
                break;
            };
            if self.pending_bytes < bytes {
                break;
            }
            self.pending_bytes -= bytes;
            let first_seed = call.sequence.wrapping_mul(SEEDS_PER_REQUEST);
            let seed = first_seed.wrapping_add(index);
            let record = match call.variant {
                // The bug: one block per record. It fits into no hole that a smaller record left.
                Variant::Leaky => Record::in_one_block(bytes, seed),
                // The fix: chunks of one size fit into every hole.
                Variant::Fixed => Record::in_chunks(bytes, seed),
            };
            self.records.keep(record);
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        self.records.retained()
    }
}

/// Larger than the number of records that one request can add, so no two records share a seed.
const SEEDS_PER_REQUEST: u64 = 1 << 20;

leak_plugin_sdk::export!(Fragmentation);

#[cfg(test)]
mod tests;
