//! Native tests of plugins: [`Driver`] calls a plugin as the lab does, [`check`] tests the rules
//! that apply to every plugin.

pub mod check;

use crate::{Instance, LeakPlugin, Outcome, Request, Retention, Setting, SettingError, Value};

/// A sample request, as curl sends it: `GET /api/data`, status 200. Id and trace id depend on `n`.
/// The time of arrival is 2025-01-01T00:00:00Z plus `n` milliseconds.
pub fn request(n: u64) -> Request {
    Request {
        id: format!("6f1c2d3e-0000-4000-8000-{n:012x}"),
        time_unix_ms: SERIES_START_UNIX_MS + n,
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

/// 2025-01-01T00:00:00Z in milliseconds since 1970-01-01T00:00:00Z.
const SERIES_START_UNIX_MS: u64 = 1_735_689_600_000;

/// Sends a series of requests to one plugin. The requests are [`request`]`(1)`, `request(2)` and so
/// on, so they arrive one millisecond apart.
///
/// ```
/// use leak_plugin_sdk::testing::Driver;
/// # use leak_plugin_sdk::{Call, Effect, Failure, Hoard, LeakPlugin, NoSettings, Retention};
/// #
/// # #[derive(Default)]
/// # struct Buffers(Hoard);
/// #
/// # impl LeakPlugin for Buffers {
/// #     const TITLE: &'static str = "Buffers";
/// #     const UNIT: &'static str = "buffers";
/// #     const PAYLOAD_BYTES: usize = 4096;
/// #     type Settings = NoSettings;
/// #
/// #     fn on_request(&mut self, call: Call<'_, NoSettings>) -> Result<Effect, Failure> {
/// #         self.0.keep(call.payload(call.payload_bytes));
/// #         Ok(Effect::Triggered)
/// #     }
/// #
/// #     fn retained(&self) -> Retention {
/// #         self.0.retained()
/// #     }
/// # }
///
/// let mut plugin = Driver::<Buffers>::default();
/// assert_eq!(plugin.requests(100).unwrap().objects, 100);
/// assert_eq!(plugin.clear().objects, 100);
/// ```
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
    /// Changes one setting.
    ///
    /// # Errors
    /// The plugin rejects the name or the value.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), SettingError> {
        self.instance.configure(&[Setting {
            name: name.to_owned(),
            value,
        }])
    }

    /// Changes the setting `variant` to `leaky` or `fixed`.
    ///
    /// # Errors
    /// There is no variant of this name.
    pub fn variant(&mut self, word: &str) -> Result<(), SettingError> {
        self.set("variant", Value::Text(word.to_owned()))
    }

    /// Sends the next request of the series.
    ///
    /// # Errors
    /// The text of the plugin's [`Failure`](crate::Failure).
    pub fn request(&mut self) -> Result<Outcome, String> {
        self.request_as(|_| ())
    }

    /// Sends the next request of the series after `change` has modified it, for example its path, a
    /// header or the status.
    ///
    /// # Errors
    /// The text of the plugin's [`Failure`](crate::Failure).
    pub fn request_as(&mut self, change: impl FnOnce(&mut Request)) -> Result<Outcome, String> {
        let mut request = request(self.next);
        change(&mut request);
        self.next += 1;
        self.instance.on_request(&request)
    }

    /// Sends the next `count` requests and returns what is retained after them.
    ///
    /// # Errors
    /// The text of the first [`Failure`](crate::Failure). The remaining requests are not sent.
    pub fn requests(&mut self, count: u64) -> Result<Retention, String> {
        for _ in 0..count {
            self.request()?;
        }
        Ok(self.retained())
    }

    /// Moves the next request `ms` milliseconds into the future.
    pub fn wait_ms(&mut self, ms: u64) {
        self.next += ms;
    }

    /// The objects and bytes that the pattern holds now.
    pub fn retained(&self) -> Retention {
        self.instance.retained()
    }

    /// Drops everything that the pattern holds and returns how much that was.
    pub fn clear(&mut self) -> Retention {
        self.instance.clear()
    }
}
