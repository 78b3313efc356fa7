//! Drives a plugin natively, the way the lab does, and checks what holds for every plugin.

pub mod check;

use crate::{Instance, LeakPlugin, Outcome, Request, Retention, Setting, SettingError, Value};

/// The request that a reader of the lab makes with curl, as number `n` of a series: id, time and trace
/// id differ from one number to the next.
pub fn request(n: u64) -> Request {
    Request {
        id: format!("6f1c2d3e-0000-4000-8000-{n:012x}"),
        time_unix_ms: FIRST_UNIX_MS + n,
        method: "GET".to_owned(),
        path: "/api/data".to_owned(),
        query: String::new(),
        headers: [
            ("host", "localhost:8080"),
            ("user-agent", "curl/7.88.1"),
            ("accept", "*/*"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        body_preview: String::new(),
        status: 200,
        elapsed_us: 40,
        trace_id: format!("{:032x}", u128::from(n) + 1),
    }
}

/// When the first request of a series comes: 2025-01-01T00:00:00Z.
const FIRST_UNIX_MS: u64 = 1_735_689_600_000;

/// A plugin and the number of the next request.
#[derive(Debug)]
pub struct Driver<P: LeakPlugin> {
    instance: Instance<P>,
    next: u64,
}

impl<P: LeakPlugin> Default for Driver<P> {
    fn default() -> Self {
        Self {
            instance: Instance::default(),
            next: 1,
        }
    }
}

impl<P: LeakPlugin> Driver<P> {
    /// Sets one setting.
    ///
    /// # Errors
    /// The plugin refuses the value.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), SettingError> {
        self.instance.configure(&[Setting {
            name: name.to_owned(),
            value,
        }])
    }

    /// Switches to a variant by its word, `leaky` or `fixed`.
    ///
    /// # Errors
    /// There is no such variant.
    pub fn variant(&mut self, word: &str) -> Result<(), SettingError> {
        self.set("variant", Value::Text(word.to_owned()))
    }

    /// Makes the next request of the series.
    ///
    /// # Errors
    /// The plugin's own failure.
    pub fn request(&mut self) -> Result<Outcome, String> {
        self.request_as(|_| ())
    }

    /// Makes the next request of the series after `change` has had its way with it: another path,
    /// header or status.
    ///
    /// # Errors
    /// The plugin's own failure.
    pub fn request_as(&mut self, change: impl FnOnce(&mut Request)) -> Result<Outcome, String> {
        let mut request = request(self.next);
        change(&mut request);
        self.next += 1;
        self.instance.on_request(&request)
    }

    /// Makes the next `count` requests and says what is retained then.
    ///
    /// # Errors
    /// The first failure of the plugin ends it.
    pub fn requests(&mut self, count: u64) -> Result<Retention, String> {
        for _ in 0..count {
            self.request()?;
        }
        Ok(self.retained())
    }

    /// Lets this many milliseconds pass before the next request.
    pub fn wait_ms(&mut self, ms: u64) {
        self.next += ms;
    }

    /// What the pattern holds now.
    pub fn retained(&self) -> Retention {
        self.instance.retained()
    }

    /// Drops what the pattern holds and says how much that was.
    pub fn clear(&mut self) -> Retention {
        self.instance.clear()
    }
}
