//! Fragmentation: enough free memory, in pieces that are too small.
//!
//! **Symptom.** Linear memory grows with every request, and live bytes do not: the pattern holds
//! `live_mb` all the time. The diff names no line, because no line holds more than before. What grows
//! is the difference between the two, `heap_free_mb`.
//!
//! **Cause.** Records are replaced by larger ones as time goes by, and some of the old ones stay between
//! those that were freed. What is freed lies in holes, each smaller than the next record. So every new
//! generation of records needs fresh memory, whatever is free. It does not go on for ever: with a
//! largest record there is a worst case, here about five times what is live.
//!
//! **Fix.** `variant: fixed` keeps a record in chunks of one size. Then any hole that a chunk left fits
//! any other chunk. What linear memory was taken before cannot be given back but by a fresh instance.

mod generations;

use leak_plugin_sdk::{Call, Effect, Failure, LeakPlugin, Retention, Variant};

use generations::{Generations, Record};

leak_plugin_sdk::settings! {
    /// How much is alive.
    pub struct FragmentationSettings {
        /// MiB of records that are held at any time, once there were requests enough to fill them.
        pub live_mb: usize = 4, in 1..=256;
    }
}

/// Records that get larger as time goes by.
#[derive(Debug, Default)]
pub struct Fragmentation {
    records: Generations,
    /// Bytes that requests were to replace and that no record was large enough for yet.
    owed_bytes: usize,
}

impl LeakPlugin for Fragmentation {
    const TITLE: &'static str = "Heap fragmentation";
    const UNIT: &'static str = "records";
    const PAYLOAD_BYTES: usize = 64 * 1024;
    const PAYLOAD_DESCRIPTION: &'static str =
        "Bytes that one request replaces; what is retained stays the same.";
    type Settings = FragmentationSettings;

    fn on_request(&mut self, call: Call<'_, FragmentationSettings>) -> Result<Effect, Failure> {
        let live_bytes = call.settings.live_mb << 20;
        self.owed_bytes += call.payload_bytes;
        for number in 0.. {
            let Some(bytes) = self.records.make_room(live_bytes) else {
                // So much was over that it takes more than this request.
                self.owed_bytes = 0;
                break;
            };
            if self.owed_bytes < bytes {
                break;
            }
            self.owed_bytes -= bytes;
            let seed = call.sequence.wrapping_mul(SEEDS).wrapping_add(number);
            let record = match call.variant {
                Variant::Leaky => Record::in_one_piece(bytes, seed),
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

/// More than the records of one request.
const SEEDS: u64 = 1 << 20;

leak_plugin_sdk::export!(Fragmentation);

#[cfg(test)]
mod tests;
