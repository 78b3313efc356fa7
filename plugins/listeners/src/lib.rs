//! Event listeners that are never removed.
//!
//! **Symptom.** Memory grows with every request, although no code seems to store anything.
//! `callbacks` equals the number of requests. Each event takes longer than the one before, because
//! the emitter calls all callbacks (see `emit_every`).
//!
//! **Cause.** Each request subscribes to an event. The callback is a closure. It captures the id of
//! the request and a context of about 7 KiB. When the request ends, nothing removes the
//! subscription. The emitter lives as long as the service, so it keeps every closure and everything
//! that the closures captured.
//!
//! **Fix.** `variant: fixed` holds the subscription in a guard that removes it when the request is
//! done. After a switch to `fixed`, each request removes up to [`SHRINK_STEP`] leaked callbacks.

mod emitter;

use leak_plugin_sdk::{
    Call, Effect, Failure, HeapSize, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

use emitter::{Callback, ConfigurationChanged, Emitter};

leak_plugin_sdk::settings! {
    /// When the emitter emits.
    pub struct ListenerSettings {
        /// Emits the event, which calls all callbacks, once in this many requests; 0 means never.
        pub emit_every: u64 = 0, in 0..=1_000_000;
    }
}

/// A service that notifies subscribers when its configuration changes.
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
            // The bug: without the guard, nothing can remove the callback any more.
            Variant::Leaky => subscription.forget(),
            // The fix: dropping the guard removes the callback.
            Variant::Fixed => drop(subscription),
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        self.configuration.retained()
    }
}

/// Creates the callback of one request. It captures the request's id and the context it reads.
fn listener(call: &Call<'_, ListenerSettings>) -> Callback {
    let request_id = call.request.id.clone();
    let overhead = request_id.heap_bytes() + Emitter::SLOT_BYTES + CLOSURE_BYTES;
    // The largest part of the leak. This line only allocates; the emitter keeps the closure alive.
    let context = call.payload(call.payload_bytes.saturating_sub(overhead));
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

/// The size of the closure: that of the values it captures, the id and the pointer to the context.
const CLOSURE_BYTES: usize = size_of::<(String, Box<[u8]>)>();

leak_plugin_sdk::export!(Listeners);

#[cfg(test)]
mod tests;
