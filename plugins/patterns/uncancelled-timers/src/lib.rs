//! Timers that are never cancelled.
//!
//! **Symptom.** Memory grows with every request. So does the CPU time of an idle service, because
//! every leaked timer keeps ticking (see `interval_seconds`).
//!
//! **Cause.** During a request something must happen at intervals, for example a progress report or
//! the renewal of a lock. The closure of the timer captures the data it needs. When the request
//! ends, nothing cancels the timer. The timer holds the closure, and the closure holds the data.
//!
//! **Fix.** `variant: fixed` holds the timer in a guard that cancels it when the request is done.
//! After a switch to `fixed`, each request cancels up to [`SHRINK_STEP`] leaked timers.

mod timers;

use leak_plugin_sdk::{
    Call, Effect, Failure, HeapSize, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

use timers::{Tick, Timers};

leak_plugin_sdk::settings! {
    /// The interval of the timers.
    pub struct TimerSettings {
        /// Seconds between two ticks of a timer.
        pub interval_seconds: f64 = 30.0, in 0.001..=86_400.0;
    }
}

/// A service that reports the progress of its requests.
#[derive(Default)]
pub struct UncancelledTimers {
    timers: Timers,
}

impl LeakPlugin for UncancelledTimers {
    const TITLE: &'static str = "Timers that are never cancelled";
    const UNIT: &'static str = "timers";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = TimerSettings;

    fn on_request(&mut self, call: Call<'_, TimerSettings>) -> Result<Effect, Failure> {
        let now = call.request.time_unix_ms;
        let interval_ms = (call.settings.interval_seconds * 1000.0) as u64;
        if call.variant == Variant::Fixed {
            self.timers.cancel_oldest(SHRINK_STEP);
        }
        std::hint::black_box(self.timers.tick(now, SHRINK_STEP));
        let timer = self.timers.every(interval_ms, now, report(&call));
        match call.variant {
            // The bug: without the guard, nothing can cancel the timer any more.
            Variant::Leaky => timer.forget(),
            // The fix: dropping the guard cancels the timer.
            Variant::Fixed => drop(timer),
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        self.timers.retained()
    }
}

/// Creates a timer's callback. It allocates what the closure captures; the list of timers keeps it.
fn report(call: &Call<'_, TimerSettings>) -> Tick {
    let request_id = call.request.id.clone();
    let overhead = request_id.heap_bytes() + Timers::SLOT_BYTES + CLOSURE_BYTES;
    let data = call.payload(call.payload_bytes.saturating_sub(overhead));
    let captured_bytes = request_id.heap_bytes() + data.heap_bytes();
    let report = move |now_unix_ms: u64| {
        let first = data.as_bytes().first().copied().unwrap_or(0);
        now_unix_ms ^ u64::from(first) ^ request_id.len() as u64
    };
    Tick::new(report, captured_bytes)
}

/// The size of the closure: that of the values it captures, the id and the pointer to the data.
const CLOSURE_BYTES: usize = size_of::<(String, Box<[u8]>)>();

leak_plugin_sdk::export!(UncancelledTimers);

#[cfg(test)]
mod tests;
