//! Writes lines to the host's log.
//!
//! The host cuts lines over 8 KiB and limits the rate of lines. In native tests, lines go to
//! stderr.

#[cfg(target_family = "wasm")]
use crate::bindings::leak_lab::plugin::logging::{Level, log};

#[cfg(not(target_family = "wasm"))]
use native::{Level, log};

/// Logs a step of a single request.
pub fn trace(message: &str) {
    log(Level::Trace, message);
}

/// Logs a detail that helps to debug the plugin.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Logs an event that the operator of the lab should see.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Logs a problem that the plugin can handle.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Logs a failure.
pub fn error(message: &str) {
    log(Level::Error, message);
}

#[cfg(not(target_family = "wasm"))]
mod native {
    pub(super) use crate::bindings::leak_lab::plugin::logging::Level;

    /// Replaces the host's import, which does not exist on a native target.
    pub(super) fn log(level: Level, message: &str) {
        eprintln!("{level:?} {message}");
    }
}
