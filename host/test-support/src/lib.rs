//! Support for the host's tests. Only tests depend on this crate.
//!
//! [`components`] builds the plugins and the fixtures from source, once per test process.
//! [`TestHost`] is a whole host in the test's own process: every part that `leak-host` builds, and
//! the router, called without a socket. A test that needs a process of its own (signals, ports,
//! options, resident memory) starts the real host instead; those tests are in `leak-host`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failed test shows by a panic, and the builds of components inherit the environment"
)]

mod answer;
pub mod bad_calls;
pub mod components;
mod host;

pub use answer::{Answer, TestRequest};
pub use host::{TestHost, TestHostBuilder, leak_states};

use serde_json::Value;

/// The number at a JSON pointer.
///
/// # Panics
///
/// If there is no number.
#[track_caller]
pub fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {pointer} in {value}"))
}
