//! The listeners that nobody removes.
//!
//! **Symptom.** Memory grows with every request although nothing in the code seems to store anything.
//! `callbacks` equals the number of requests, and each event takes longer than the one before, since
//! all of them are called (see `emit_every`).
//!
//! **Cause.** For the time of the request something subscribes to an event. The callback is a closure
//! and captures what it works with, here the request's id and a context of about 7 KiB. The request
//! ends, the subscription does not: the emitter lives as long as the service, so does every closure,
//! and so does everything they captured.
//!
//! **Fix.** `variant: fixed` holds the subscription in a guard that ends it when the request is done.
//! Callbacks that were left behind before the switch are removed with the next requests, in steps of
//! [`SHRINK_STEP`] per request.

mod emitter;

use leak_plugin_sdk::{
    Call, Effect, Failure, HeapSize, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

use emitter::{Callback, ConfigurationChanged, Emitter};

leak_plugin_sdk::settings! {
    /// What the emitter does.
    pub struct ListenerSettings {
        /// The event is emitted, and all callbacks called, at every request with a multiple of this number; 0 is never.
        pub emit_every: u64 = 0, in 0..=1_000_000;
    }
}

/// A service that tells whoever subscribed that its configuration has changed.
#[derive(Default)]
pub struct Listeners {
    configuration: Emitter,
}

impl LeakPlugin for Listeners {
    const TITLE: &'static str = "Event listener accumulation";
    const UNIT: &'static str = "callbacks";
    const PAYLOAD_BYTES: usize = 7 * 1024;
    type Settings = ListenerSettings;

    fn on_request(&mut self, call: Call<'_, ListenerSettings>) -> Result<Effect, Failure> {
        if call.variant == Variant::Fixed {
            self.configuration.remove_orphans(SHRINK_STEP);
        }
        let subscription = self.configuration.subscribe(listener(&call));
        if call.settings.emit_every != 0 && call.sequence.is_multiple_of(call.settings.emit_every) {
            std::hint::black_box(self.configuration.emit(ConfigurationChanged {
                version: call.sequence,
            }));
        }
        match call.variant {
            // The bug: this is the last time that anybody could have ended it.
            Variant::Leaky => subscription.forget(),
            Variant::Fixed => drop(subscription),
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        self.configuration.retained()
    }
}

/// The callback of one request: it captures the request's id and the context it answers from.
fn listener(call: &Call<'_, ListenerSettings>) -> Callback {
    let request_id = call.request.id.clone();
    let around = request_id.heap_bytes() + Emitter::SLOT_BYTES + CLOSURE_BYTES;
    let context = call.payload(call.payload_bytes.saturating_sub(around));
    let captured_bytes = request_id.heap_bytes() + context.heap_bytes();
    let listener = move |event: ConfigurationChanged| {
        let context = context
            .as_bytes()
            .iter()
            .map(|byte| u64::from(*byte))
            .sum::<u64>();
        event.version ^ context ^ request_id.len() as u64
    };
    Callback::new(listener, captured_bytes)
}

/// A closure is as large as what it captures: the id and the pointer to the context.
const CLOSURE_BYTES: usize = size_of::<(String, Box<[u8]>)>();

leak_plugin_sdk::export!(Listeners);

#[cfg(test)]
mod tests;
