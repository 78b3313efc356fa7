//! Sessions that never end.
//!
//! **Symptom.** Memory grows with visitors that come once: crawlers, health checks, scripts. In a
//! test with a browser memory is flat, because the browser sends its cookie back.
//!
//! **Cause.** A request without a session gets a new one in memory, and nothing ever ends it: there
//! is no time to live, no logout and no bound. A client that never sends the cookie back opens a
//! session with every request.
//!
//! **Fix.** `variant: fixed` ends sessions that were idle for `idle_seconds`. Above `max_sessions`
//! it ends the session that was idle longest. After a switch to `fixed`, each request ends up to
//! [`SHRINK_STEP`] leaked sessions.
//!
//! A request resumes a session with `cookie: session=ID` or `?session=ID`. The ID is the id of the
//! request that opened the session.

use std::collections::VecDeque;
use std::rc::Rc;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Request, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The bounds of the fixed variant.
    pub struct SessionSettings {
        /// Maximum idle time of a session of the fixed variant, in seconds.
        pub idle_seconds: f64 = 60.0, in 0.001..=86_400.0;
        /// Maximum number of sessions of the fixed variant.
        pub max_sessions: usize = 100, in 1..=1_000_000;
    }
}

/// A session store in memory.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: HashMap<Rc<str>, Session>,
    /// The last use and the id of each session, roughly longest idle first. A session that was used
    /// since it was queued moves to the end when it reaches the front.
    by_age: VecDeque<(u64, Rc<str>)>,
    owned_bytes: usize,
}

#[derive(Debug)]
struct Session {
    used_unix_ms: u64,
    /// The data of a visitor: basket, language, permissions.
    profile: Payload,
}

/// Bytes of one session in the two containers, including its control byte in the map.
const SLOT_BYTES: usize = size_of::<(Rc<str>, Session)>() + 1 + size_of::<(u64, Rc<str>)>();

impl LeakPlugin for Sessions {
    const TITLE: &'static str = "Sessions without a time to live";
    const UNIT: &'static str = "sessions";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = SessionSettings;

    fn on_request(&mut self, call: Call<'_, SessionSettings>) -> Result<Effect, Failure> {
        let now = call.request.time_unix_ms;
        let known = session_id(call.request).and_then(|id| self.by_id.get_mut(id));
        let effect = match known {
            Some(session) => {
                session.used_unix_ms = now;
                Effect::Skipped
            }
            None => {
                let id: Rc<str> = call.request.id.as_str().into();
                let overhead = id.heap_bytes() + SLOT_BYTES;
                let profile = call.payload(call.payload_bytes.saturating_sub(overhead));
                // The bug: a client without a cookie opens a session with every request, and
                // nothing ends it.
                self.open(id, profile, now);
                Effect::Triggered
            }
        };
        // The fix: every request also ends sessions that are idle or beyond the bound.
        if call.variant == Variant::Fixed {
            self.end_idle(call.settings, now);
        }
        Ok(effect)
    }

    fn retained(&self) -> Retention {
        let bytes = self.owned_bytes + self.by_id.block_bytes() + self.by_age.block_bytes();
        Retention::of(self.by_id.len(), bytes)
    }
}

impl Sessions {
    /// Adds a session to both containers.
    fn open(&mut self, id: Rc<str>, profile: Payload, now_unix_ms: u64) {
        let (id_bytes, profile_bytes) = (id.heap_bytes(), profile.heap_bytes());
        let session = Session {
            used_unix_ms: now_unix_ms,
            profile,
        };
        self.owned_bytes += profile_bytes;
        // A repeated id replaces its session and keeps the old place in the queue.
        match self.by_id.insert(Rc::clone(&id), session) {
            Some(replaced) => self.owned_bytes -= replaced.profile.heap_bytes(),
            None => {
                self.owned_bytes += id_bytes;
                self.by_age.push_back((now_unix_ms, id));
            }
        }
    }

    /// Ends sessions while there are too many or they are idle for too long.
    fn end_idle(&mut self, bounds: &SessionSettings, now_unix_ms: u64) {
        for _ in 0..=SHRINK_STEP {
            let Some((queued_unix_ms, id)) = self.by_age.pop_front() else {
                break;
            };
            let Some(session) = self.by_id.get(&id) else {
                continue;
            };
            let used = session.used_unix_ms;
            if used > queued_unix_ms {
                self.by_age.push_back((used, id));
                continue;
            }
            // If the clock is set back, the subtraction saturates: the session is not idle.
            let idle_ms = now_unix_ms.saturating_sub(used) as f64;
            let over_capacity = self.by_id.len() > bounds.max_sessions;
            if !over_capacity && idle_ms <= bounds.idle_seconds * 1000.0 {
                self.by_age.push_front((queued_unix_ms, id));
                break;
            }
            if let Some(ended) = self.by_id.remove(&id) {
                self.owned_bytes -= id.heap_bytes() + ended.profile.heap_bytes();
            }
        }
        self.by_id.shrink_sparse();
        self.by_age.shrink_sparse();
    }
}

/// The session id in the request's cookies or query.
fn session_id(request: &Request) -> Option<&str> {
    let in_cookie = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        .flat_map(|(_, cookies)| cookies.split(';'));
    let in_query = request.query.split('&');
    in_cookie
        .chain(in_query)
        .find_map(|pair| pair.trim().strip_prefix("session="))
}

leak_plugin_sdk::export!(Sessions);

#[cfg(test)]
mod tests;
