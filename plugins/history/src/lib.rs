//! The request history that is never cut.
//!
//! **Symptom.** Memory grows with every request, a little more when headers or queries are long.
//! `records` equals the number of requests. Nobody has looked at most of them.
//!
//! **Cause.** Somebody wanted to see the last requests and kept all of them, whole: id, time, method,
//! path, headers, query, the beginning of the body, status, time taken, trace id, and what was
//! rendered for it, here a padding that fills the record up to `payload_bytes`.
//!
//! **Fix.** `variant: fixed` keeps a ring of the last `keep_last` records. What was retained before the
//! switch goes in steps of [`SHRINK_STEP`] records per request.

mod record;

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

use record::Record;

leak_plugin_sdk::settings! {
    /// The bound of the fixed variant.
    pub struct HistorySettings {
        /// How many records the fixed variant keeps.
        pub keep_last: usize = 100, in 1..=1_000_000;
    }
}

/// Every request from the oldest to the newest.
#[derive(Debug, Default)]
pub struct History {
    /// Boxed, so that the list itself stays small however large a record is.
    records: VecDeque<Box<Record>>,
    owned_bytes: usize,
}

impl LeakPlugin for History {
    const TITLE: &'static str = "Request history";
    const UNIT: &'static str = "records";
    const PAYLOAD_BYTES: usize = 1536;
    type Settings = HistorySettings;

    fn on_request(&mut self, call: Call<'_, HistorySettings>) -> Result<Effect, Failure> {
        let request = call.request.clone();
        let padding = call.payload(Record::padding_bytes(&request, call.payload_bytes));
        self.push(Box::new(Record { request, padding }));
        if call.variant == Variant::Fixed {
            self.cut(call.settings.keep_last);
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.records.len(),
            self.owned_bytes + self.records.block_bytes(),
        )
    }
}

impl History {
    fn push(&mut self, record: Box<Record>) {
        self.owned_bytes += record.heap_bytes();
        self.records.push_back(record);
    }

    /// Drops the oldest records beyond the last `keep`.
    fn cut(&mut self, keep: usize) {
        for _ in 0..=SHRINK_STEP {
            if self.records.len() <= keep {
                break;
            }
            let Some(record) = self.records.pop_front() else {
                break;
            };
            self.owned_bytes -= record.heap_bytes();
        }
        self.records.shrink_sparse();
    }
}

leak_plugin_sdk::export!(History);

#[cfg(test)]
mod tests;
