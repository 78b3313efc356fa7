//! Decoy: a cache that warms up. Nothing leaks.
//!
//! **Symptom.** After a start, memory grows with the requests: fast at first, then more slowly, and
//! finally not at all. During the first minutes it looks like a leak.
//!
//! **Why it is not a leak.** The cache holds one entry for each of `items` items, and the number of
//! items does not grow over time. How to tell: `count` reaches a number and stays there, although
//! requests continue.
//!
//! **Fixed.** There is no bug to fix. `variant: fixed` runs without the cache and shows the cost:
//! it computes every answer again.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The number of items.
    pub struct WarmUpSettings {
        /// Number of different items that requests ask for, in pseudo-random order.
        pub items: u64 = 100, in 1..=1_000_000;
    }
}

/// A cache with one answer per item.
#[derive(Debug, Default)]
pub struct WarmUp {
    answers: HashMap<u64, Payload>,
    owned_bytes: usize,
}

/// Bytes of one entry in the map, including its control byte.
const SLOT_BYTES: usize = size_of::<(u64, Payload)>() + 1;

impl LeakPlugin for WarmUp {
    const TITLE: &'static str = "Decoy: warm-up";
    const UNIT: &'static str = "entries";
    const PAYLOAD_BYTES: usize = 5 * 1024;
    const PAYLOAD_DESCRIPTION: &'static str = "Bytes of one entry. There is one entry per item.";
    type Settings = WarmUpSettings;

    fn on_request(&mut self, call: Call<'_, WarmUpSettings>) -> Result<Effect, Failure> {
        let item = requested_item(call.sequence, call.settings.items);
        if call.variant == Variant::Leaky && self.answers.contains_key(&item) {
            return Ok(Effect::Skipped);
        }
        // While the cache fills, the profiler names this line. Then it stops growing.
        let answer = call.payload(call.payload_bytes.saturating_sub(SLOT_BYTES));
        match call.variant {
            Variant::Leaky => {
                self.owned_bytes += answer.heap_bytes();
                self.answers.insert(item, answer);
            }
            // Drops the answer after use, and what the cache held before the switch.
            Variant::Fixed => self.drop_some(),
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.answers.len(),
            self.owned_bytes + self.answers.block_bytes(),
        )
    }
}

impl WarmUp {
    /// Drops up to [`SHRINK_STEP`] entries.
    fn drop_some(&mut self) {
        for (_, answer) in self.answers.extract_if(|_, _| true).take(SHRINK_STEP) {
            self.owned_bytes -= answer.heap_bytes();
        }
        self.answers.shrink_sparse();
    }
}

/// The item that a request asks for: a pseudo-random one, derived from the request's number.
fn requested_item(sequence: u64, items: u64) -> u64 {
    let mixed = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % items
}

leak_plugin_sdk::export!(WarmUp);

#[cfg(test)]
mod tests;
