//! The unbounded cache.
//!
//! **Symptom.** Memory grows by the same amount with every request. The hit rate is zero, and
//! `entries` equals the number of requests.
//!
//! **Cause.** Two mistakes that are harmless alone. The key contains the id of the request, so no
//! two requests share a key and no lookup ever hits. And the cache has no bound: neither a
//! maximum size nor a time to live.
//!
//! **Fix.** `variant: fixed` bounds the cache: at most `max_entries` entries, none older than
//! `entry_ttl_seconds`. It evicts the least recently used entry first; without hits, that is the
//! oldest. After a switch to `fixed`, each request evicts up to [`SHRINK_STEP`] leaked entries.
//! The key stays useless. A bound stops the leak; only a better key makes this a useful cache.

use std::collections::VecDeque;
use std::rc::Rc;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Request, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The bounds of the fixed variant.
    pub struct CacheSettings {
        /// Maximum number of entries of the fixed variant.
        pub max_entries: usize = 100, in 1..=1_000_000;
        /// Maximum age of an entry of the fixed variant, in seconds.
        pub entry_ttl_seconds: f64 = 60.0, in 0.001..=86_400.0;
    }
}

/// A cache of answers, keyed by request.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<Rc<str>, Entry>,
    /// The keys of all entries, oldest first.
    by_age: VecDeque<Rc<str>>,
    /// Heap bytes that the keys and the answers of all entries own.
    owned_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    answer: Payload,
    inserted_unix_ms: u64,
}

impl Entry {
    /// Bytes of one entry in the two containers, including its control byte in the map.
    const SLOT_BYTES: usize = size_of::<(Rc<str>, Self)>() + 1 + size_of::<Rc<str>>();
}

impl LeakPlugin for Cache {
    const TITLE: &'static str = "Unbounded cache";
    const UNIT: &'static str = "entries";
    const PAYLOAD_BYTES: usize = 5 * 1024;
    type Settings = CacheSettings;

    fn on_request(&mut self, call: Call<'_, CacheSettings>) -> Result<Effect, Failure> {
        let key = key(call.request, call.sequence);
        // The lookup. It never hits, because every key is unique.
        if self.entries.contains_key(&key) {
            return Ok(Effect::Skipped);
        }
        // The leak: every request allocates an answer, and the leaky variant never frees one.
        let answer = call.payload(
            call.payload_bytes
                .saturating_sub(key.heap_bytes() + Entry::SLOT_BYTES),
        );
        self.insert(
            key,
            Entry {
                answer,
                inserted_unix_ms: call.request.time_unix_ms,
            },
        );
        // The fix: every insert also enforces the bounds.
        if call.variant == Variant::Fixed {
            self.evict(call.settings, call.request.time_unix_ms);
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        let bytes = self.owned_bytes + self.entries.block_bytes() + self.by_age.block_bytes();
        Retention::of(self.entries.len(), bytes)
    }
}

impl Cache {
    fn insert(&mut self, key: Rc<str>, entry: Entry) {
        self.owned_bytes += key.heap_bytes() + entry.answer.heap_bytes();
        self.by_age.push_back(Rc::clone(&key));
        self.entries.insert(key, entry);
    }

    /// Evicts the oldest entries while there are too many or they are expired.
    fn evict(&mut self, bounds: &CacheSettings, now_unix_ms: u64) {
        for _ in 0..=SHRINK_STEP {
            let Some(oldest) = self.by_age.front() else {
                break;
            };
            let over_capacity = self.entries.len() > bounds.max_entries;
            let is_expired = |entry: &Entry| entry.is_expired(bounds, now_unix_ms);
            if !over_capacity && !self.entries.get(oldest).is_some_and(is_expired) {
                break;
            }
            self.drop_oldest();
        }
        self.entries.shrink_sparse();
        self.by_age.shrink_sparse();
    }

    /// Removes the oldest entry from both containers.
    fn drop_oldest(&mut self) {
        let Some(key) = self.by_age.pop_front() else {
            return;
        };
        if let Some(entry) = self.entries.remove(&key) {
            self.owned_bytes -= key.heap_bytes() + entry.answer.heap_bytes();
        }
    }
}

impl Entry {
    fn is_expired(&self, bounds: &CacheSettings, now_unix_ms: u64) -> bool {
        // If the clock is set back, the subtraction saturates: the entry looks new, not expired.
        let age_ms = now_unix_ms.saturating_sub(self.inserted_unix_ms);
        age_ms as f64 > bounds.entry_ttl_seconds * 1000.0
    }
}

/// The bug: the key contains the id of the request, so every key is unique. A key of method, path
/// and query alone would get hits. The sequence number keeps the key unique even if two requests
/// have the same id.
fn key(request: &Request, sequence: u64) -> Rc<str> {
    let Request {
        method,
        path,
        query,
        id,
        ..
    } = request;
    format!("{method} {path}?{query} request={id}.{sequence}").into()
}

leak_plugin_sdk::export!(Cache);

#[cfg(test)]
mod tests;
