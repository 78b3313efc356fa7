//! What can go wrong, and what cannot be done.

use std::fmt;

/// The bytes could not be looked at. A component that cannot be *attributed* is no error: see
/// [`Attribution`](super::Attribution).
#[derive(Debug, thiserror::Error)]
pub enum InstrumentError {
    /// They are no component: text, a core module, something else.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(&'static str),
    /// They begin as a component does and are not a valid one.
    #[error("not a valid component: {0}")]
    Invalid(#[from] wasmparser::Error),
}

/// Kept side data that cannot be used again.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// Written by another version of this library.
    #[error("written by another version of guest-heap")]
    OtherVersion,
    /// Cut off or damaged.
    #[error("damaged: {0}")]
    Malformed(&'static str),
    /// Cut off or damaged.
    #[error("damaged: {0}")]
    Truncated(#[from] wasmparser::Error),
}

/// Why a component is left as it is. The text goes to the reader of a status page.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

impl Refusal {
    /// For what a valid component cannot be.
    pub(super) fn internal(what: &str) -> Self {
        Self(format!("instrumenting failed: {what}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<wasmparser::Error> for Refusal {
    fn from(error: wasmparser::Error) -> Self {
        Self::internal(&error.to_string())
    }
}
