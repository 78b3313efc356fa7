//! The unbounded cache.
//!
//! **Symptom.** Memory grows by the same amount with every request, as fast as the traffic, and the
//! hit rate is zero. `entries` equals the number of requests.
//!
//! **Cause.** Two mistakes that are harmless alone. The key was meant to name what was asked, but it
//! has the request's id in it, so that no two requests share one and nothing is ever found. And
//! nothing bounds the cache: no size, no time to live.
//!
//! **Fix.** `variant: fixed` bounds it both ways: at most `max_entries`, none older than
//! `entry_ttl_seconds`, the least recently used gone first. Since no key is ever found again, that is
//! the oldest one. What was retained before the switch goes in steps of [`SHRINK_STEP`] entries per
//! request. The key stays as useless as it was: a bound stops the leak, only a better key makes it a
//! cache.

use std::collections::VecDeque;
use std::rc::Rc;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Request, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The bounds of the fixed variant.
    pub struct CacheSettings {
        /// Most entries that the fixed variant keeps.
        pub max_entries: usize = 100, in 1..=1_000_000;
        /// How old an entry of the fixed variant gets, in seconds.
        pub entry_ttl_seconds: f64 = 60.0, in 0.001..=86_400.0;
    }
}

/// Answers by request, kept to be found again.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<Rc<str>, Entry>,
    /// The keys from the oldest entry to the newest.
    by_age: VecDeque<Rc<str>>,
    /// What the keys and the answers of all entries own.
    owned_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    answer: Payload,
    inserted_unix_ms: u64,
}

impl Entry {
    /// What an entry takes up in the containers, with its control byte in the map.
    const SLOT_BYTES: usize = size_of::<(Rc<str>, Self)>() + 1 + size_of::<Rc<str>>();
}

impl LeakPlugin for Cache {
    const TITLE: &'static str = "Unbounded cache";
    const UNIT: &'static str = "entries";
    const PAYLOAD_BYTES: usize = 5 * 1024;
    type Settings = CacheSettings;

    fn on_request(&mut self, call: Call<'_, CacheSettings>) -> Result<Effect, Failure> {
        let key = key(call.request, call.sequence);
        // The look-up every cache begins with. With a key like this it never finds anything.
        if self.entries.contains_key(&key) {
            return Ok(Effect::Skipped);
        }
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

    /// Drops the oldest entries, as far as they are too many or too old.
    fn evict(&mut self, bounds: &CacheSettings, now_unix_ms: u64) {
        for _ in 0..=SHRINK_STEP {
            let Some(oldest) = self.by_age.front() else {
                break;
            };
            let crowded = self.entries.len() > bounds.max_entries;
            if !crowded
                && !self
                    .entries
                    .get(oldest)
                    .is_some_and(|entry| entry.expired(bounds, now_unix_ms))
            {
                break;
            }
            self.drop_oldest();
        }
        self.entries.shrink_sparse();
        self.by_age.shrink_sparse();
    }

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
    fn expired(&self, bounds: &CacheSettings, now_unix_ms: u64) -> bool {
        // A clock that was set back makes an entry young, not infinitely old.
        let age_ms = now_unix_ms.saturating_sub(self.inserted_unix_ms);
        age_ms as f64 > bounds.entry_ttl_seconds * 1000.0
    }
}

/// The bug: the id makes the key unique. The sequence number keeps it so even if an id comes twice.
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
