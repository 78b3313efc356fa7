//! Errors, and the reasons for which a component or a module is not instrumented.

use std::fmt;

use crate::interpreter::MAX_DEPTH;

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
    /// The component has declarations of entry points, and they are wrong.
    #[error("the declared entry points are wrong: {0}")]
    Declarations(#[from] DeclarationError),
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

/// The most entry points that a file may declare.
pub(super) const MAX_ENTRY_POINTS: usize = 64;

/// The highest position of a parameter.
pub(super) const MAX_POSITION: u32 = 15;

/// A file of declarations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeclarationError {
    /// It is not valid TOML.
    #[error("{0}")]
    Malformed(#[from] toml::de::Error),
    /// It declares nothing.
    #[error("it has neither [[entry-point]] nor interpreted-frames")]
    Empty,
    /// It declares more than 64 entry points.
    #[error("it has {0} entry points, and at most {MAX_ENTRY_POINTS} are possible")]
    TooMany(usize),
    /// It declares a function twice.
    #[error("it declares the function {0:?} twice")]
    Twice(String),
    /// An entry point names no function.
    #[error("an entry point has no function: its name, as text")]
    Unnamed,
    /// The file has a key at the top that means nothing.
    #[error("{0} is not a key of this file: it has [[entry-point]] and interpreted-frames")]
    UnknownKey(String),
    /// The number of interpreted frames is out of range.
    #[error("interpreted-frames must be a number from 0 to {MAX_DEPTH}")]
    Frames,
    /// An entry point has a key or a value that does not fit.
    #[error("the entry point {function:?} is wrong: {what}")]
    Wrong {
        /// The name of the function.
        function: String,
        /// The key, and what its value must be.
        what: String,
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
