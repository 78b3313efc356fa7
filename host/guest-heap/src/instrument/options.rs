//! Options of the instrumenter.

use crate::interpreter::{DEFAULT_DEPTH, MAX_DEPTH};

use super::declared::{DeclaredEntries, EntryKind};

/// Options of [`instrument()`](super::instrument()).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Has the host capture the call stack at every allocation, not only at the first one of a
    /// context, and compare it with the stack of the context.
    ///
    /// This makes the guest a hundred times slower. It proves for a run that no context represents
    /// two call stacks. [`Recorder::checked`](crate::Recorder::checked) returns the outcome.
    pub check_contexts: bool,
    pub(super) entry_points: DeclaredEntries,
    pub(super) interpreted_frames: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            check_contexts: false,
            entry_points: DeclaredEntries::default(),
            interpreted_frames: DEFAULT_DEPTH,
        }
    }
}

impl Options {
    /// Declares a function to be an entry point of the component's allocator.
    ///
    /// `function` is a name in the name section of a core module, as it is there or demangled, or
    /// the name of an export of a core module. Entry points that the profiler knows by name stay.
    /// A declared entry point may call other entry points: each block counts once.
    ///
    /// [`instrument()`](super::instrument()) returns an error if no core module has the function,
    /// or if the function's signature does not fit the kind.
    #[must_use]
    pub fn entry_point(mut self, function: impl Into<String>, kind: EntryKind) -> Self {
        self.entry_points.0.push((function.into(), kind));
        self
    }

    /// Sets how many calls of an interpreted program, such as a Python program, identify a context:
    /// 8 by default and at most 64. Contexts that differ only in further outer calls are one
    /// context. With 0, contexts are the call stacks of the interpreter instead.
    #[must_use]
    pub fn interpreted_frames(mut self, frames: u32) -> Self {
        self.interpreted_frames = frames.min(MAX_DEPTH);
        self
    }
}
