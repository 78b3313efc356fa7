//! Sessions without an end.
//!
//! **Symptom.** Memory grows with visitors that come once: crawlers, health checks, scripts. In a test
//! with a browser, which sends its cookie back, it is flat.
//!
//! **Cause.** Whoever comes without a session gets one, stored in memory, and nothing ever ends it: no
//! time to live, no logout, no bound. A visitor who does not send the cookie back opens a new session
//! with every request.
//!
//! **Fix.** `variant: fixed` ends a session that was idle for `idle_seconds`, and the longest idle one
//! when there are more than `max_sessions`. What was opened before the switch is ended in steps of
//! [`SHRINK_STEP`] sessions per request.
//!
//! A request resumes its session with `cookie: session=ID` or `?session=ID`, where the ID is that of the
//! request which opened it.

use std::collections::VecDeque;
use std::rc::Rc;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HashMap, HeapSize, LeakPlugin, Payload, Request, Retention,
    SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The bounds of the fixed variant.
    pub struct SessionSettings {
        /// How long a session of the fixed variant may be idle, in seconds.
        pub idle_seconds: f64 = 60.0, in 0.001..=86_400.0;
        /// Most sessions that the fixed variant keeps.
        pub max_sessions: usize = 100, in 1..=1_000_000;
    }
}

/// Who is signed in, and what is known of them.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: HashMap<Rc<str>, Session>,
    /// Each session once, roughly the longest idle first: one that was used meanwhile goes to the end
    /// when its turn comes.
    by_age: VecDeque<(u64, Rc<str>)>,
    owned_bytes: usize,
}

#[derive(Debug)]
struct Session {
    used_unix_ms: u64,
    /// The visitor's basket, language, permissions.
    profile: Payload,
}

/// What a session takes up in the containers, with its control byte in the map.
const SLOT_BYTES: usize = size_of::<(Rc<str>, Session)>() + 1 + size_of::<(u64, Rc<str>)>();

impl LeakPlugin for Sessions {
    const TITLE: &'static str = "Sessions without a time to live";
    const UNIT: &'static str = "sessions";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = SessionSettings;

    fn on_request(&mut self, call: Call<'_, SessionSettings>) -> Result<Effect, Failure> {
        let now = call.request.time_unix_ms;
        let known = session_id(call.request).and_then(|id| self.by_id.get_mut(id));
        let opened = match known {
            Some(session) => {
                session.used_unix_ms = now;
                false
            }
            None => {
                let id: Rc<str> = call.request.id.as_str().into();
                let overhead = id.heap_bytes() + SLOT_BYTES;
                let profile = call.payload(call.payload_bytes.saturating_sub(overhead));
                self.open(id, profile, now);
                true
            }
        };
        if call.variant == Variant::Fixed {
            self.end_idle(call.settings, now);
        }
        Ok(if opened {
            Effect::Triggered
        } else {
            Effect::Skipped
        })
    }

    fn retained(&self) -> Retention {
        let bytes = self.owned_bytes + self.by_id.block_bytes() + self.by_age.block_bytes();
        Retention::of(self.by_id.len(), bytes)
    }
}

impl Sessions {
    fn open(&mut self, id: Rc<str>, profile: Payload, now_unix_ms: u64) {
        let (id_bytes, profile_bytes) = (id.heap_bytes(), profile.heap_bytes());
        let session = Session {
            used_unix_ms: now_unix_ms,
            profile,
        };
        self.owned_bytes += profile_bytes;
        // An id that comes twice replaces what it stood for; its place in the queue serves both.
        match self.by_id.insert(Rc::clone(&id), session) {
            Some(replaced) => self.owned_bytes -= replaced.profile.heap_bytes(),
            None => {
                self.owned_bytes += id_bytes;
                self.by_age.push_back((now_unix_ms, id));
            }
        }
    }

    /// Ends sessions as far as they are too many or idle for too long.
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
            // A clock that was set back makes a session young, not infinitely old.
            let idle_ms = now_unix_ms.saturating_sub(used) as f64;
            let crowded = self.by_id.len() > bounds.max_sessions;
            if !crowded && idle_ms <= bounds.idle_seconds * 1000.0 {
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

/// The session that a request belongs to, if it says so.
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
