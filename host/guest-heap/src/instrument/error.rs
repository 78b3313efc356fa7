//! Errors, and the reasons for which a component or a module is not instrumented.

use std::fmt;

/// The bytes cannot be instrumented because they are not a component.
///
/// A valid component that cannot be *attributed* is not an error: see
/// [`Attribution`](super::Attribution).
#[derive(Debug, thiserror::Error)]
pub enum InstrumentError {
    /// The bytes do not begin like a component: they are text, a core module or something else.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(&'static str),
    /// The bytes begin like a component, but are not a valid one.
    #[error("not a valid component: {0}")]
    Invalid(#[from] wasmparser::Error),
    /// No core module has a function of this name, which was declared as an entry point.
    #[error("no function is named {0:?}, which is declared as an entry point of an allocator")]
    UnknownEntryPoint(String),
    /// A declared function does not have the declared parameters and results.
    #[error(
        "the declared entry point {function:?} has the signature {signature}, which does not fit \
         its kind: parameters and results must be i32, and the positions must exist"
    )]
    UnfitEntryPoint {
        /// The name of the function.
        function: String,
        /// The signature that it has.
        signature: String,
    },
}

/// An encoded [`InstrumentedMeta`](super::InstrumentedMeta) cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// Another version of this library has encoded it.
    #[error("written by another version of guest-heap")]
    OtherVersion,
    /// The bytes are incomplete or damaged.
    #[error("damaged: {0}")]
    Malformed(&'static str),
    /// The bytes end too early or hold an invalid number.
    #[error("damaged: {0}")]
    Truncated(#[from] wasmparser::Error),
}

/// Why a component or a module is not instrumented, as text for a status page.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

impl Refusal {
    /// A refusal that a valid component never causes.
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
