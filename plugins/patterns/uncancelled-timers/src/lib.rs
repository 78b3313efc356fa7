//! Timers that nobody cancels.
//!
//! **Symptom.** Memory grows with every request, and so does the time that an idle service spends: each
//! timer that is left behind goes on ticking (see `interval_seconds`).
//!
//! **Cause.** For the time of the request something is to happen at intervals: report progress, renew
//! a lock. The timer's closure captures what it works with. The request ends and nobody cancels the
//! timer, which holds the closure, which holds the rest.
//!
//! **Fix.** `variant: fixed` holds the timer in a guard that cancels it when the request is done. Timers
//! that were left behind before the switch are cancelled with the next requests, in steps of
//! [`SHRINK_STEP`] per request.

mod timers;

use leak_plugin_sdk::{
    Call, Effect, Failure, HeapSize, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

use timers::{Tick, Timers};

leak_plugin_sdk::settings! {
    /// When the timers tick.
    pub struct TimerSettings {
        /// Seconds from one tick of a timer to the next.
        pub interval_seconds: f64 = 30.0, in 0.001..=86_400.0;
    }
}

/// A service that reports how its requests get on.
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
            // The bug: this was the last handle by which it could have been cancelled.
            Variant::Leaky => timer.forget(),
            Variant::Fixed => drop(timer),
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        self.timers.retained()
    }
}

/// What the timer of one request does: it looks at what has been worked on so far.
fn report(call: &Call<'_, TimerSettings>) -> Tick {
    let request_id = call.request.id.clone();
    let around = request_id.heap_bytes() + Timers::SLOT_BYTES + CLOSURE_BYTES;
    let working_on = call.payload(call.payload_bytes.saturating_sub(around));
    let captured_bytes = request_id.heap_bytes() + working_on.heap_bytes();
    let report = move |now_unix_ms: u64| {
        let first = working_on.as_bytes().first().copied().unwrap_or(0);
        now_unix_ms ^ u64::from(first) ^ request_id.len() as u64
    };
    Tick::new(report, captured_bytes)
}

/// A closure is as large as what it captures: the id and the pointer to what is worked on.
const CLOSURE_BYTES: usize = size_of::<(String, Box<[u8]>)>();

leak_plugin_sdk::export!(UncancelledTimers);

#[cfg(test)]
mod tests;
