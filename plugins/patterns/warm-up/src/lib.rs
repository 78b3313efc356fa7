//! Decoy: a cache that warms up. Nothing leaks.
//!
//! **Symptom.** After a start memory grows with the requests, fast at first, then more and more slowly,
//! and then not at all. Who looks in the first minutes only sees a leak; the diff names the line that
//! fills the cache.
//!
//! **Why it is none.** The cache has an entry for each of `items`, and there are no more of them. What
//! grows is bounded by something that does not grow with time. The sign is the shape: `count` comes up to
//! a number and stays there, while requests go on.
//!
//! **Fixed.** There is nothing to mend. `variant: fixed` runs without the cache, and shows what that
//! costs: every answer is made anew.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// What there is to ask for.
    pub struct WarmUpSettings {
        /// Items that requests ask for, in no order.
        pub items: u64 = 100, in 1..=1_000_000;
    }
}

/// Answers by item: as many as there are items.
#[derive(Debug, Default)]
pub struct WarmUp {
    answers: HashMap<u64, Payload>,
    owned_bytes: usize,
}

/// What an entry takes up in the table, with its control byte.
const SLOT_BYTES: usize = size_of::<(u64, Payload)>() + 1;

impl LeakPlugin for WarmUp {
    const TITLE: &'static str = "Decoy: warm-up";
    const UNIT: &'static str = "entries";
    const PAYLOAD_BYTES: usize = 5 * 1024;
    const PAYLOAD_DESCRIPTION: &'static str = "Bytes of one entry; there is one for each item.";
    type Settings = WarmUpSettings;

    fn on_request(&mut self, call: Call<'_, WarmUpSettings>) -> Result<Effect, Failure> {
        let item = asked_for(call.sequence, call.settings.items);
        if call.variant == Variant::Leaky && self.answers.contains_key(&item) {
            return Ok(Effect::Skipped);
        }
        let answer = call.payload(call.payload_bytes.saturating_sub(SLOT_BYTES));
        match call.variant {
            Variant::Leaky => {
                self.owned_bytes += answer.heap_bytes();
                self.answers.insert(item, answer);
            }
            Variant::Fixed => self.let_go(),
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
    /// Drops entries, not too many at a time.
    fn let_go(&mut self) {
        for (_, answer) in self.answers.extract_if(|_, _| true).take(SHRINK_STEP) {
            self.owned_bytes -= answer.heap_bytes();
        }
        self.answers.shrink_sparse();
    }
}

/// The item that a request asks for: any one, and not the same ones in each round.
fn asked_for(sequence: u64, items: u64) -> u64 {
    let mixed = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % items
}

leak_plugin_sdk::export!(WarmUp);

#[cfg(test)]
mod tests;
