//! One line to the host's log.
//!
//! The host cuts lines over 8 KiB and holds back floods. Natively, in tests, lines go to stderr.

#[cfg(target_family = "wasm")]
use crate::bindings::leak_lab::plugin::logging::{Level, log};

#[cfg(not(target_family = "wasm"))]
use native::{Level, log};

/// For whoever follows a single request.
pub fn trace(message: &str) {
    log(Level::Trace, message);
}

/// For whoever looks for a fault in the plugin.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// For whoever runs the lab.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Something is odd, but the plugin goes on.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Something failed.
pub fn error(message: &str) {
    log(Level::Error, message);
}

#[cfg(not(target_family = "wasm"))]
mod native {
    pub(super) use crate::bindings::leak_lab::plugin::logging::Level;

    /// Stands in for the host, which is not there natively.
    pub(super) fn log(level: Level, message: &str) {
        eprintln!("{level:?} {message}");
    }
}
