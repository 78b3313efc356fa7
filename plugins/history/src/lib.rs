//! A request history without a bound.
//!
//! **Symptom.** Memory grows with every request, and grows faster with long headers or queries.
//! `records` equals the number of requests. Almost no record is ever read.
//!
//! **Cause.** The history should show recent requests, but it keeps every request. A record is
//! complete: id, time, method, path, headers, query, the start of the body, status, elapsed time,
//! trace id, and the rendered answer. Here a padding replaces the rendered answer and fills the
//! record up to `payload_bytes`.
//!
//! **Fix.** `variant: fixed` keeps a ring of the last `keep_last` records. After a switch to
//! `fixed`, each request drops up to [`SHRINK_STEP`] leaked records.

mod record;

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

use record::Record;

leak_plugin_sdk::settings! {
    /// The bound of the fixed variant.
    pub struct HistorySettings {
        /// Number of most recent records that the fixed variant keeps.
        pub keep_last: usize = 100, in 1..=1_000_000;
    }
}

/// The requests since the start, or the most recent ones in the fixed variant.
#[derive(Debug, Default)]
pub struct History {
    /// Oldest first. The records are boxed, so the list stays small however large a record is.
    records: VecDeque<Box<Record>>,
    /// Heap bytes that all records own.
    owned_bytes: usize,
}

impl LeakPlugin for History {
    const TITLE: &'static str = "Request history";
    const UNIT: &'static str = "records";
    const PAYLOAD_BYTES: usize = 1536;
    type Settings = HistorySettings;

    fn on_request(&mut self, call: Call<'_, HistorySettings>) -> Result<Effect, Failure> {
        // The next two lines allocate what a record holds, so the profiler names them.
        let request = call.request.clone();
        let padding = call.payload(Record::padding_bytes(&request, call.payload_bytes));
        // The bug: nothing ever removes a record.
        self.push(Box::new(Record { request, padding }));
        // The fix: every push also drops the oldest records beyond the bound.
        if call.variant == Variant::Fixed {
            self.drop_oldest(call.settings.keep_last);
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

    /// Drops the oldest records until `keep` are left, at most `SHRINK_STEP + 1` per call.
    fn drop_oldest(&mut self, keep: usize) {
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
